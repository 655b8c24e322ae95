"""Loads the user's entry file of a handler or script, and says in the user's terms why it cannot be loaded."""

from . import PRISTINE as __builtins__  # noqa: A004

import sys

from .handler_source import examine


class Entry:
    """`function`: what the file defines by the name asked for; None: see `errors`, as in a LoadReport."""

    function = None
    # True for an async function that awaits nothing: it needs no event loop.
    awaits_nothing = False
    # The source mentions body_stream: the function may ask for a body before it has come whole.
    streams_body = False

    def __init__(self):
        self.errors = {}
        self.imports = {"": []}


def load_entry(directory, entrypoint, name):
    entry = Entry()
    directory = directory.rstrip("/")
    try:
        _load(entry, directory, entrypoint, name)
    except BaseException as error:
        entry.function = None
        entry.errors[""] = _load_error(error, directory + "/")
    return entry


def _load(entry, directory, entrypoint, name):
    parts = [part for part in entrypoint.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in entrypoint:
        raise LoadFailure("The entrypoint " + repr(entrypoint) + " does not name a file of the function.")
    path = directory + "/" + "/".join(parts)
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError:
        raise LoadFailure("Failed to load entrypoint, file " + entrypoint + " does not exist.") from None
    examined = examine(source, path, directory, name)
    entry.imports[""] = examined.imports
    folder = path[: path.rindex("/")]
    for each in (directory, folder):
        # Loading is tried again after a failure.
        if each not in sys.path[:2]:
            sys.path.insert(0, each)
    module = _module("/".join(parts), directory, path)
    exec(examined.code, module.__dict__)
    function = module.__dict__.get(name)
    if not callable(function):
        raise LoadFailure("Function signature invalid. Did you forget to export a '" + name + "' function?")
    entry.awaits_nothing = examined.awaits_nothing and getattr(getattr(function, "__code__", None), "co_name", "") == name
    entry.streams_body = b"body_stream" in source
    entry.function = function


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
