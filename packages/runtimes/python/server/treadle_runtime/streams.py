"""sys.stdout, sys.stderr, os.write and threads, replaced so that what user code writes is tied to its execution.

What goes around Python (child processes, C libraries) reaches the real descriptors 1 and 2, which the host reads.
"""

from . import PRISTINE as __builtins__  # noqa: A004

import _thread
import builtins
import posix
import sys
from _contextvars import copy_context

from . import execution, thread_pools
from .channel import Turn
from .execution import current


class _Bytes:
    """The `buffer` of a stream."""

    mode = "wb"
    closed = False

    def __init__(self, stream, name):
        self._stream = stream
        self.name = name

    def write(self, data):
        data = bytes(data)
        current.get().write(self._stream, data.decode("utf-8", "surrogateescape"))
        return len(data)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def fileno(self):
        return self._stream + 1

    def flush(self):
        pass

    close = flush

    def isatty(self):
        return False

    readable = seekable = isatty

    def writable(self):
        return True


class Stream:
    """A text stream whose lines become log entries; closing it does nothing."""

    encoding = "utf-8"
    errors = "backslashreplace"
    mode = "w"
    newlines = None
    line_buffering = True
    write_through = True
    closed = False

    def __init__(self, stream, name):
        self._stream = stream
        self.name = name
        self.buffer = _Bytes(stream, name)

    def write(self, text, get=current.get):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        get().write(self._stream, text)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def fileno(self):
        return self._stream + 1

    def flush(self):
        pass

    close = flush

    def reconfigure(self, **_options):
        pass

    def detach(self):
        return self.buffer

    def isatty(self):
        return False

    readable = seekable = isatty

    def writable(self):
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass


def _leave(code=None):
    """Builtins that module site would have added."""
    raise SystemExit(code)


def _in_child():
    # A child of user code is not the server: it must never speak on the channel.
    Turn.broken = True
    execution.after_fork()


def install():
    stdout = sys.stdout = sys.__stdout__ = Stream(0, "<stdout>")
    stderr = sys.stderr = sys.__stderr__ = Stream(1, "<stderr>")
    builtins.exit = builtins.quit = _leave

    posix.register_at_fork(after_in_child=_in_child)

    # The module os, which nobody has imported yet, takes its functions from posix.
    write = posix.write

    def write_tied(fd, data):
        if fd == 1 or fd == 2:
            return (stdout if fd == 1 else stderr).buffer.write(data)
        return write(fd, data)

    posix.write = write_tied

    thread_pools.install()

    # Likewise threading takes its starter from _thread: a new thread belongs to the execution that started it.
    start = _thread.start_new_thread

    def start_tied(function, args, kwargs=None):
        if kwargs:
            return start(copy_context().run, (function, *args), kwargs)
        return start(copy_context().run, (function, *args))

    _thread.start_new_thread = _thread.start_new = start_tied

    if hasattr(_thread, "start_joinable_thread"):
        joinable = _thread.start_joinable_thread

        def start_joinable_tied(function, *args, **kwargs):
            context = copy_context()
            return joinable(lambda: context.run(function), *args, **kwargs)

        _thread.start_joinable_thread = start_joinable_tied
