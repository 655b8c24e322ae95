"""The `inline` contract: bodies of functions that share one scope, call each other and keep a `cache`."""

from . import PRISTINE as __builtins__  # noqa: A004

import builtins

from . import failures, json_text
from .inline_source import alias_of, compile_body, usable_names
from .execution import current
from .standard_modules import standard_modules

_FunctionType = type(lambda: 0)


class InlineFunction:
    """A body made callable."""

    # One that awaits more than siblings has `needs_loop`; the others are driven without a loop.
    awaits_nothing = True
    streams = False
    __slots__ = ("name", "body", "names", "pass_parameters", "defaults", "needs_loop", "slow", "error")

    def begin(self, body):
        """Coroutine of the body for a CALL's payload."""
        return self.start(json_text.parse(body.decode()))

    def payload(self, value):
        """RESULT payload of a returned value."""
        return json_text.encode(value)

    def start(self, arguments):
        if self.error is not None:
            raise failures.FunctionFailure(self.error)
        for name, text in self.defaults:
            if name not in arguments:
                # A copy of its own for every call.
                arguments[name] = json_text.parse(text)
        given = {}
        for spelling, name in self.names:
            if name in arguments:
                given[spelling] = arguments[name]
        if self.pass_parameters:
            given["parameters"] = arguments
        return self.body(**given)


def save_file(path=None, name=None, type=None, description=None, content=None):
    """Saves a file of the sandbox, or content, as a file of the workspace: {"id", "name", "mimeType", "size", "sha256"}."""
    from .files import save_file

    return save_file(current.get(), path, name, type, description, content)


def open_file(id):
    """Makes a file of the workspace readable: {"id", "name", "mimeType", "size", "sha256", "path"}."""
    from .files import open_file

    return open_file(current.get(), id)


class Functions(dict):
    """`functions["any-name"]` in user code."""

    def __missing__(self, name):
        raise failures.FunctionFailure({"code": "UNKNOWN_FUNCTION", "message": "There is no function " + repr(name) + " in this workspace."})


class InlineContract:
    """All functions of a LOAD, by the UTF-8 bytes of their names."""

    def __init__(self, request):
        self.by_name = {}
        self.files = {}
        self.errors = {}
        self.imports = {}
        definitions = request.get("functions") or {}
        lookup = Functions()
        scope = {"__name__": "functions", "__builtins__": builtins, "cache": {}, "functions": lookup}
        # A sibling of the same name is meant before these.
        scope["save_file"] = save_file
        scope["open_file"] = open_file
        siblings = {name for name in definitions if name.isidentifier() and not name.startswith("__")}
        siblings -= {"cache", "functions", "parameters"}
        calls = {}
        for name, definition in definitions.items():
            function = InlineFunction()
            function.name = name
            function.error = None
            function.slow = False
            self.by_name[name.encode("utf-8", "surrogatepass")] = function
            calls[name] = self._make(function, definition, siblings, scope)
            lookup[name] = sibling = _sibling(function)
            if name in siblings:
                scope[alias_of(name)] = sibling
        _spread_loop(self.by_name.values(), calls)

    def _make(self, function, definition, siblings, scope):
        name, code = function.name, definition["code"]
        file_name = name + ".py"
        self.files[file_name] = name
        names = usable_names(definition.get("parameters") or ())
        function.pass_parameters = "parameters" not in names
        function.defaults = [(key, json_text.encode_ascii(value).decode()) for key, value in (definition.get("defaults") or {}).items()]
        function.names = list(names.items())
        function.needs_loop = False
        function.body = None
        variables = list(names)
        if function.pass_parameters:
            variables.append("parameters")
        try:
            compiled = compile_body(code, file_name.replace("\0", "?").encode("utf-8", "replace").decode(), variables, siblings)
        except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError) as error:
            function.error = self.errors[name] = failures.syntax(error, name, code)
            self.imports[name] = []
            return None
        self.imports[name] = sorted(compiled.imports - set(standard_modules()))
        function.body = _FunctionType(compiled.code.replace(co_name=name), scope, name)
        function.body.__kwdefaults__ = dict.fromkeys(variables)
        function.needs_loop = compiled.needs_loop
        failures.sources[file_name] = code
        return compiled

    def find(self, name):
        return self.by_name.get(name)

    def functions(self):
        return self.by_name.values()


def _sibling(function):
    def call(*positional, **arguments):
        if positional:
            if len(positional) > 1 or not isinstance(positional[0], dict):
                raise TypeError(function.name + "() takes keyword arguments, or one dict of them")
            arguments = {**positional[0], **arguments}
        return function.start(arguments)

    call.__name__ = call.__qualname__ = function.name
    return call


def _spread_loop(functions, calls):
    """A function that awaits one which needs the event loop needs it too."""
    changed = True
    while changed:
        changed = False
        needing = {function.name for function in functions if function.needs_loop}
        for function in functions:
            compiled = calls[function.name]
            if compiled is None or function.needs_loop or not needing:
                continue
            if compiled.awaits_any or not needing.isdisjoint(compiled.awaits):
                function.needs_loop = changed = True
