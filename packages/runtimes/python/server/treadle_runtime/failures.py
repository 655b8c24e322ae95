"""RuntimeError objects of CHANNEL.md from exceptions. Loaded when the first thing fails."""

from . import PRISTINE as __builtins__  # noqa: A004
from . import FOLDER

STACK_BYTES = 16 * 1024
MESSAGE_CHARACTERS = 8 * 1024


class FunctionFailure(Exception):
    """Carries a ready RuntimeError: of a sibling that did not load, of a function that does not exist."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.error = error


def message_of(error):
    try:
        text = str(error)
    except Exception:
        text = ""
    return text[:MESSAGE_CHARACTERS]


def stack_of(error):
    """Traceback text in the user's own lines: frames of the runtime server are left out, the middle of a long one is cut."""
    try:
        from traceback import StackSummary, TracebackException

        summary = TracebackException(type(error), error, error.__traceback__)
        pending, seen = [summary], set()
        while pending:
            one = pending.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            one.stack = StackSummary.from_list([frame for frame in one.stack if not frame.filename.startswith(FOLDER)])
            pending += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]
        data = "".join(summary.format()).rstrip().encode("utf-8", "backslashreplace")
    except Exception:
        return type(error).__name__
    if len(data) > STACK_BYTES:
        half = STACK_BYTES // 2 - 16
        data = data[:half] + b"\n  ...\n" + data[-half:]
    return data.decode("utf-8", "ignore")


def place_of(error):
    """The user's innermost frame: (file name, line), or None."""
    place = None
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith(FOLDER) and not name.startswith("<frozen"):
            place = (name, trace.tb_lineno)
        trace = trace.tb_next
    return place


def thrown(error, files):
    """RuntimeError for what user code raised. `files`: function name by file name, to name the place."""
    if isinstance(error, FunctionFailure):
        return error.error
    kind = type(error)
    if isinstance(error, MemoryError):
        return {"code": "OUT_OF_MEMORY", "message": message_of(error) or "Python could not get the memory it asked for.", "name": kind.__name__}
    if isinstance(error, ModuleNotFoundError) and isinstance(error.name, str):
        result = {"code": "MODULE_NOT_FOUND", "message": message_of(error), "module": error.name.partition(".")[0]}
    elif isinstance(error, SystemExit):
        result = {"code": "THREW", "message": "The function asked the process to exit (" + message_of(error) + ")."}
    else:
        result = {"code": "THREW", "message": message_of(error)}
    result["name"] = kind.__name__
    result["stack"] = stack_of(error)
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name in files:
            result["function"] = files[name]
            result["line"] = trace.tb_lineno
        trace = trace.tb_next
    return result


def syntax(error, function, source):
    """RuntimeError for code that does not compile; line and column from 1, in characters of the user's text."""
    result = {"code": "SYNTAX_ERROR", "function": function}
    if isinstance(error, UnicodeEncodeError):
        before = source[: error.start]
        result["message"] = "The code holds a lone surrogate, which is not valid Unicode text."
        result["line"] = before.count("\n") + 1
        result["column"] = len(before) - (before.rfind("\n") + 1) + 1
    elif "\0" in source:
        before = source[: source.index("\0")]
        result["message"] = "The code holds a NUL character."
        result["line"] = before.count("\n") + 1
        result["column"] = len(before) - (before.rfind("\n") + 1) + 1
    elif isinstance(error, SyntaxError):
        result["message"] = error.msg or "invalid syntax"
        result["line"] = error.lineno or 1
        result["column"] = max(error.offset or 1, 1)
    else:
        nested = isinstance(error, (RecursionError, MemoryError))
        result["message"] = "The code is nested too deeply." if nested else message_of(error)
        result["line"] = result["column"] = 1
    result["name"] = "SyntaxError"
    return result


# Texts of inline functions by file name that linecache does not know yet.
sources: dict = {}


def show_sources():
    """Makes the lines of inline functions appear in stacks."""
    if sources:
        import linecache

        for name, text in sources.items():
            linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        sources.clear()
