"""Reads an entry file: its code, the packages it imports, and whether its function awaits anything."""

from . import PRISTINE as __builtins__  # noqa: A004

import _ast
import posix

from .standard_modules import standard_modules

_PARSE_ONLY = 0x400


class Examined:
    __slots__ = ("code", "imports", "awaits_nothing")


def examine(source, path, directory, name):
    """Raises SyntaxError or ValueError for source that does not compile."""
    tree = compile(source, path, "exec", _PARSE_ONLY, True)
    result = Examined()
    result.code = compile(tree, path, "exec", 0, True)
    imports = set()
    for node in _nodes(tree):
        if type(node) is _ast.Import:
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif type(node) is _ast.ImportFrom and node.level == 0 and node.module:
            imports.add(node.module.partition(".")[0])
    result.imports = sorted(imports - set(standard_modules()) - _own_modules(path, directory))
    mains = [node for node in tree.body if type(node) is _ast.AsyncFunctionDef and node.name == name]
    result.awaits_nothing = len(mains) == 1 and not mains[0].decorator_list and not any(map(_waits, _nodes(mains[0])))
    return result


def _waits(node):
    kind = type(node)
    return kind in (_ast.Await, _ast.AsyncFor, _ast.AsyncWith) or (kind is _ast.comprehension and node.is_async) or (
        kind is _ast.Attribute and node.attr in ("create_task", "ensure_future", "get_running_loop")
    )


def _nodes(tree):
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        for name in node._fields:
            child = getattr(node, name, None)
            if type(child) is list:
                pending += [one for one in child if isinstance(one, _ast.AST)]
            elif isinstance(child, _ast.AST):
                pending.append(child)


def _own_modules(path, directory):
    """Names that the function's own files answer to."""
    names = {"function"}
    for folder in {directory, path[: path.rindex("/")]}:
        try:
            names.update(entry.partition(".")[0] for entry in posix.listdir(folder))
        except OSError:
            pass
    return names
