"""An execution: the state of one call, and the log lines tied to it through a context variable."""

from . import PRISTINE as __builtins__  # noqa: A004

from _contextvars import ContextVar
from _thread import RLock
from posix import write
from time import time

from .channel import CANCELLED, LOG, Turn, flush, flush_unless_gathering, head, log_head, out

DEBUG, INFO, WARN, ERROR_LEVEL = 0, 1, 2, 3
# Bits of a LOG frame's flags.
CUT, FIELDS = 1, 2
# Between the text of an entry and its fields: no JSON holds it.
FIELDS_SEPARATOR = b"\x1e"
# Longest JSON of fields that the host takes.
MAXIMUM_FIELDS = 16 * 1024


class Limits:
    """Set by LOAD; the host checks them again."""

    result_bytes = 16 * 1024 * 1024
    log_bytes = 1024 * 1024
    log_entry_characters = 8000


# Guards the order of an execution's frames: log lines before its end, nothing after it.
# Reentrant, because the garbage collector may run a finaliser that prints while a line is being written.
_order = RLock()


def after_fork():
    """In a child process: no other thread is left that could give the lock back."""
    _order._at_fork_reinit()


# Executions that have begun and not ended, by id.
open_executions: dict = {}


class Execution:
    __slots__ = ("id", "closed", "cancelled", "partial", "logged", "truncated", "thread", "task", "interrupted", "silent", "sink", "transfers", "flow")

    def __init__(self, id):
        self.id = id
        self.closed = False
        self.cancelled = False
        # Unfinished last lines: of level INFO and of level ERROR_LEVEL.
        self.partial = ["", ""]
        self.logged = 0
        self.truncated = False
        # Log lines are not wanted.
        self.silent = False
        # Identifier of the thread that runs it, or the asyncio task.
        self.thread = None
        self.task = None
        self.interrupted = False
        # Where log lines go instead of the channel (HTTP transport).
        self.sink = None
        # Its files being saved or opened; made with the first.
        self.transfers = None
        # Its bodies that come or leave in pieces, if there are such.
        self.flow = None

    def write(self, stream, text):
        """Text written to stdout (stream 0) or stderr (1); one entry per line, the last line waits for its end."""
        if self.closed:
            system.write(stream, text)
            return
        if self.sink is not None and not self.silent:
            self.sink.native()
        with _order:
            partial = self.partial
            if "\n" in text:
                lines = (partial[stream] + text).split("\n")
                partial[stream] = lines.pop()
                level = INFO + 2 * stream
                for line in lines:
                    self._entry(level, line)
            else:
                held = partial[stream]
                # What is beyond the limit would be cut anyway: do not let an endless line fill the memory.
                room = Limits.log_entry_characters + 1 - len(held)
                if room > 0:
                    partial[stream] = held + text[:room]
                return
        # At once: the code that runs next may end the process, or never give the turn back.
        flush()

    def log(self, level, text, fields=None):
        """One entry, line breaks included. `fields`: a dict that stays apart from the text."""
        if self.closed:
            system.log(level, text, fields)
            return
        with _order:
            self._entry(level, text, fields)
        # At once: the code that runs next may end the process, or never give the turn back.
        flush()

    def _entry(self, level, text, fields=None):
        if self.truncated or self.silent:
            return
        flags = 0
        if len(text) > Limits.log_entry_characters:
            text = text[: Limits.log_entry_characters]
            flags = CUT
        data = log_bytes(text)
        if fields is not None:
            written = _fields(fields)
            if written is not None:
                data += FIELDS_SEPARATOR + written
                flags |= FIELDS
        if self.id:
            if self.logged + len(data) > Limits.log_bytes:
                self.truncated = True
                level, flags, data = WARN, 1, b"[log truncated]"
            self.logged += len(data)
        if self.sink is not None:
            self.sink(level, flags, data)
        elif Turn.broken:
            # A forked child has no channel: the host reads its descriptors.
            write(1 if level < ERROR_LEVEL else 2, data + b"\n")
        else:
            out.append(log_head.pack(len(data) + 15, LOG, self.id, level, flags, time() * 1000) + data)

    def _finish_lines(self):
        for stream in (0, 1):
            if self.partial[stream]:
                self._entry(INFO + 2 * stream, self.partial[stream])
                self.partial[stream] = ""

    def finish(self, kind, payload):
        """Sends RESULT or ERROR as the last frame of the execution; nothing when it has ended already."""
        with _order:
            if self.closed:
                return
            if self.partial[0] or self.partial[1]:
                self._finish_lines()
            self.closed = True
            out.append(head.pack(len(payload) + 5, kind, self.id) + payload)
        if self.transfers is not None:
            self.transfers.end()
        if self.flow is not None:
            self.flow.end()
        open_executions.pop(self.id, None)
        flush_unless_gathering()

    def end(self):
        """Ends an execution that has no frame of its own (HTTP transport); later log lines are nobody's."""
        with _order:
            self._finish_lines()
            self.closed = True

    def give_up(self):
        """Marks as ended by CANCEL; true if it had not ended yet. What it wrote so far is sent."""
        with _order:
            if self.closed:
                return False
            self._finish_lines()
            self.closed = True
            self.cancelled = True
        if self.transfers is not None:
            self.transfers.end()
        if self.flow is not None:
            self.flow.end()
        return True

    def send(self, kind, payload):
        """Sends a frame at once; false when the execution has ended."""
        with _order:
            if self.closed:
                return False
            out.append(head.pack(len(payload) + 5, kind, self.id) + payload)
        flush()
        return True

    def send_cancelled(self, running):
        out.append(head.pack(5 + (16 if running else 17), CANCELLED, self.id) + (b'{"running":true}' if running else b'{"running":false}'))
        open_executions.pop(self.id, None)
        flush_unless_gathering()


class Flow:
    """The bodies of an execution that are under way."""

    __slots__ = ("incoming", "outgoing")

    def __init__(self, incoming=None):
        self.incoming = incoming
        self.outgoing = None

    def end(self):
        if self.incoming is not None:
            self.incoming.fail("The call has ended.")
        if self.outgoing is not None:
            self.outgoing.stop()


def _fields(fields):
    """Fields of a log entry as JSON; None: they are no dict, or cannot be written."""
    if not isinstance(fields, dict):
        return None
    from . import json_text

    try:
        data = json_text.encode(fields)
    except (TypeError, ValueError, RecursionError):
        return None
    return data if len(data) < MAXIMUM_FIELDS else None


def log_bytes(text):
    """UTF-8 of a log line. Bytes written to stdout come as surrogate escapes; what is not UTF-8 becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            data = text.encode("utf-8", "surrogatepass")
        return data.decode("utf-8", "replace").encode()


# Lines that belong to no execution: written while loading, or after the call they come from has ended.
system = Execution(0)

current = ContextVar("treadle_execution", default=system)
