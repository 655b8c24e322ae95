"""The `handler` contract: one file with `main(context)`, or the older `main(req, res)`, plain or async."""

from . import PRISTINE as __builtins__  # noqa: A004

import posix
import sys

from . import json_text
from .context import Context, Request
from .execution import current
from .handler_source import examine
from .response import HIDDEN_PREFIX, rendered


class HandlerContract:
    """Loads the entry file at once. It is its own only function, whatever the name in a CALL."""

    slow = False
    # The awaits of an async main are looked at per call: see `awaits_nothing`.
    needs_loop = False

    def __init__(self, directory, entrypoint):
        self.errors = {}
        self.imports = {"": []}
        self.files = {}
        self.main = None
        self.enforced = _enforced_headers()
        # True for an async main that awaits nothing: it needs no event loop.
        self.awaits_nothing = False
        self.takes_pair = False
        try:
            self._load(directory.rstrip("/"), entrypoint)
        except BaseException as error:
            self.main = None
            self.errors[""] = _load_error(error, directory.rstrip("/") + "/")

    def _load(self, directory, entrypoint):
        parts = [part for part in entrypoint.split("/") if part not in ("", ".")]
        if not parts or ".." in parts or "\0" in entrypoint:
            raise LoadFailure("The entrypoint " + repr(entrypoint) + " does not name a file of the function.")
        path = directory + "/" + "/".join(parts)
        try:
            with open(path, "rb") as file:
                source = file.read()
        except OSError:
            raise LoadFailure("Failed to load entrypoint, file " + entrypoint + " does not exist.") from None
        examined = examine(source, path, directory)
        self.imports[""] = examined.imports
        folder = path[: path.rindex("/")]
        sys.path[:0] = [folder] if folder == directory else [folder, directory]
        module = _module("/".join(parts), directory, path)
        exec(examined.code, module.__dict__)
        main = module.__dict__.get("main")
        if not callable(main):
            raise LoadFailure("Function signature invalid. Did you forget to export a 'main' function?")
        self.takes_pair = _positional_count(main) >= 2
        self.awaits_nothing = examined.main_awaits_nothing and getattr(getattr(main, "__code__", None), "co_name", "") == "main"
        self.main = main

    def find(self, _name):
        return self

    def functions(self):
        return ()

    def begin(self, body):
        """Runs main on a CALL's payload; the answer is its value, or an awaitable of it."""
        length = int.from_bytes(body[:4], "little")
        head = json_text.parse(body[4 : 4 + length].decode())
        execution = current.get()
        if not head.get("logging", True):
            execution.silent = True
        return self.call(Request(head["method"], head["url"], self.visible_headers(head["headers"]), body[4 + length :]), execution)

    def visible_headers(self, headers):
        """Headers as user code sees them: lower-case names, without the runtime's own, with the enforced ones."""
        visible = {name.lower(): str(value) for name, value in headers.items() if not name.lower().startswith(HIDDEN_PREFIX)}
        visible.update(self.enforced)
        return visible

    def call(self, request, execution):
        if self.main is None:
            from .failures import FunctionFailure

            raise FunctionFailure(self.errors[""])
        context = Context(request, execution)
        if not self.takes_pair:
            return self.main(context)
        value = self.main(context.req, context.res)
        if hasattr(value, "__await__"):
            return _answered(value, context.res)
        return context.res.last if value is None else value

    def payload(self, value):
        """RESULT payload of a returned value. Raises InvalidResponse."""
        status, headers, body = rendered(value)
        head = json_text.encode({"statusCode": status, "headers": headers})
        return len(head).to_bytes(4, "little") + head + body


def _enforced_headers():
    try:
        given = json_text.parse(posix.environ.get(b"OPEN_RUNTIMES_HEADERS", b"{}").decode().strip())
        return {name.lower(): value if isinstance(value, str) else json_text.encode(value).decode() for name, value in given.items()}
    except (ValueError, StopIteration, AttributeError, RecursionError):
        return {}


async def _answered(awaitable, response):
    value = await awaitable
    return response.last if value is None else value


class LoadFailure(Exception):
    """Raised for an entry file that cannot serve; the message is for its author."""


def _module(relative, directory, path):
    """A module object as `import function.<path>` would make it, so that relative imports of neighbours work too."""
    kind = type(sys)
    package = sys.modules["function"] = kind("function")
    package.__path__ = [directory]
    name = "function"
    for part in relative.split("/")[:-1]:
        directory += "/" + part
        name += "." + part
        package = sys.modules[name] = kind(name)
        package.__path__ = [directory]
    stem = relative.rsplit("/", 1)[-1]
    stem = stem[:-3] if stem.endswith(".py") else stem
    module = kind(name + "." + stem)
    module.__file__ = path
    module.__package__ = name
    sys.modules[module.__name__] = module
    return module


def _positional_count(main):
    code = getattr(main, "__code__", None)
    if code is not None and not hasattr(main, "__wrapped__"):
        return code.co_argcount - len(main.__defaults__ or ()) - (1 if hasattr(main, "__self__") else 0)
    from inspect import Parameter, signature

    try:
        parameters = signature(main).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for one in parameters if one.kind in kinds and one.default is Parameter.empty)


def _load_error(error, folder):
    from . import failures

    if isinstance(error, LoadFailure):
        return {"code": "LOAD_FAILED", "message": str(error)}
    if isinstance(error, (SyntaxError, ValueError)) and error.__traceback__.tb_next is not None:
        inner = error.__traceback__
        while inner.tb_next is not None:
            inner = inner.tb_next
        if inner.tb_frame.f_code.co_filename.startswith(failures.FOLDER):
            return _with_file(failures.syntax(error, "", ""), error, folder)
    described = failures.thrown(error, {})
    if described["code"] == "THREW":
        described["code"] = "LOAD_FAILED"
    if isinstance(error, SyntaxError):
        described = _with_file(failures.syntax(error, "", ""), error, folder)
    return described


def _with_file(described, error, folder):
    """Adds the path of the faulty source file, relative to the source folder."""
    filename = getattr(error, "filename", None)
    if isinstance(filename, str) and filename.startswith(folder):
        described["file"] = filename[len(folder) :]
    return described
