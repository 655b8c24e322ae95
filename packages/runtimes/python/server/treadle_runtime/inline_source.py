"""Turns the text of an inline function's body into a code object, and reads off its tree what the rest needs to know."""

from . import PRISTINE as __builtins__  # noqa: A004

import _ast
import builtins
import sys

# Attributes that need a running event loop although nothing is awaited.
_NEEDS_LOOP = frozenset(("create_task", "ensure_future", "get_running_loop"))
# Offered functions that block and whose results can be awaited without one.
_BLOCKING = frozenset(("save_file", "open_file"))
_UNUSABLE = frozenset(("None", "True", "False", "__debug__"))
_PARSE_ONLY = 0x400


class Compiled:
    """`code` of an async function with keyword-only `names`; `imports` are top-level module names;
    `awaits` the siblings awaited by name; `awaits_any`: it looks siblings up by a computed name;
    `needs_loop`: it awaits something else than siblings, so it runs on the event loop."""

    __slots__ = ("code", "names", "imports", "awaits", "awaits_any", "needs_loop")


def usable_names(names):
    """Those that can be variables, as the parser would spell them, without repetition: {spelling: given name}."""
    result = {}
    for name in names:
        if name.isidentifier():
            spelling = name
            if not name.isascii():
                from unicodedata import normalize

                spelling = normalize("NFKC", name)
            if spelling not in _UNUSABLE:
                result.setdefault(spelling, name)
    return result


def alias_of(name):
    """Name of a sibling in scope when it is also a builtin: `list(x)` stays the builtin, `await list()` is the sibling."""
    return "sibling " + name if hasattr(builtins, name) else name


def compile_body(text, file_name, names, siblings):
    """Compiles a body. Raises SyntaxError, ValueError (NUL), UnicodeEncodeError, RecursionError or MemoryError."""
    tree = compile(text, file_name, "exec", _PARSE_ONLY, True)
    result = Compiled()
    result.names = names
    _examine(tree, result, siblings, file_name)
    at = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}
    if sys.version_info >= (3, 12):
        at_function = {"type_params": [], **at}
    else:
        at_function = at
    function = _ast.AsyncFunctionDef(
        name="body",
        args=_ast.arguments(
            posonlyargs=[],
            args=[],
            vararg=None,
            kwonlyargs=[_ast.arg(arg=name, annotation=None, **at) for name in names],
            kw_defaults=[None] * len(names),
            kwarg=None,
            defaults=[],
        ),
        body=tree.body or [_ast.Pass(**at)],
        decorator_list=[],
        returns=None,
        **at_function,
    )
    tree.body = [function]
    try:
        module = compile(tree, file_name, "exec", 0, True)
    except SyntaxError as error:
        # From here on the compiler counts columns in bytes.
        lines = text.split("\n")
        if error.lineno and error.offset and error.lineno <= len(lines):
            before = lines[error.lineno - 1].encode("utf-8", "replace")[: error.offset - 1]
            error.offset = len(before.decode("utf-8", "ignore")) + 1
        raise
    result.code = next(one for one in module.co_consts if hasattr(one, "co_code"))
    return result


def _examine(tree, result, siblings, file_name):
    imports, awaits = set(), set()
    needs_loop = awaits_any = False
    # Nodes with whether they belong to the body itself (and not to a function defined in it).
    pending = [(node, True) for node in tree.body]
    while pending:
        node, own = pending.pop()
        kind = type(node)
        if kind is _ast.Import:
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif kind is _ast.ImportFrom:
            if node.level == 0 and node.module:
                imports.add(node.module.partition(".")[0])
        elif kind is _ast.Await:
            target = node.value
            called = target.func if type(target) is _ast.Call else None
            if type(called) is _ast.Name and called.id in siblings:
                awaits.add(called.id)
                called.id = alias_of(called.id)
            elif not own:
                pass  # whoever runs that function brings the loop
            elif type(called) is _ast.Name and called.id in _BLOCKING:
                pass
            elif type(called) is _ast.Subscript and type(called.value) is _ast.Name and called.value.id == "functions":
                awaits_any = True
            else:
                needs_loop = True
        elif own and (kind is _ast.AsyncFor or kind is _ast.AsyncWith or (kind is _ast.comprehension and node.is_async)):
            needs_loop = True
        elif own and kind is _ast.Attribute and node.attr in _NEEDS_LOOP:
            needs_loop = True
        elif own and (kind is _ast.Yield or kind is _ast.YieldFrom):
            message = "'yield' outside a function of its own: a function answers once, return a list instead"
            raise SyntaxError(message, (file_name, node.lineno, node.col_offset + 1, None))
        elif kind is _ast.FunctionDef or kind is _ast.AsyncFunctionDef or kind is _ast.Lambda:
            own = False
        for name in node._fields:
            child = getattr(node, name, None)
            if type(child) is list:
                pending += [(one, own) for one in child if isinstance(one, _ast.AST)]
            elif isinstance(child, _ast.AST):
                pending.append((child, own))
    result.imports = imports
    result.awaits = awaits
    result.awaits_any = awaits_any
    result.needs_loop = needs_loop
