"""Where log lines go under the HTTP transport: as in Open Runtimes, two files per log id; without a log folder, stdout, a line of JSON each."""

from . import PRISTINE as __builtins__  # noqa: A004

import os
from time import time

from . import json_text
from .execution import CUT, FIELDS, FIELDS_SEPARATOR

NATIVE_NOTE = b"Native logs detected. Use context.log() or context.error() for better experience."
CUT_NOTE = b"... Log truncated due to size limit (8000 characters)"
LEVELS = ("debug", "info", "warn", "error")
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def folder():
    """The log folder, or None when there is none to write to."""
    chosen = os.environ.get("TREADLE_LOGS") or "/mnt/logs"
    return chosen if os.access(chosen, os.W_OK | os.X_OK) else None


def log_id(sent):
    """A log id for a request: the one it names when that can be part of a file name, else a new one of 20 characters."""
    if sent and len(sent) <= 64 and _ALLOWED.issuperset(sent):
        return sent
    if os.environ.get("OPEN_RUNTIMES_ENV") == "development":
        return "dev"
    now = time()
    return f"{int(now):08x}{int(now * 1e6) % 0x100000:05x}" + os.urandom(4).hex()[:7]


class Sink:
    """Takes the lines of one execution (`id` None: of none); files are opened at the first line and never followed out of the folder."""

    def __init__(self, directory, id):
        self.directory = directory
        self.id = id
        self.files = {}
        self.native_noted = directory is None

    def native(self):
        """Called for what user code writes to stdout or stderr; noted once, as in Open Runtimes."""
        if not self.native_noted:
            self.native_noted = True
            self(1, 0, NATIVE_NOTE)

    def __call__(self, level, flags, data):
        fields = None
        if flags & FIELDS:
            data, _, fields = data.rpartition(FIELDS_SEPARATOR)
        if flags & CUT and data != b"[log truncated]":
            data += CUT_NOTE
        if self.directory is None:
            more = b"" if fields is None else b',"fields":' + fields
            line = {"id": self.id, "level": LEVELS[level], "text": data.decode("utf-8", "replace")}
            write_out(json_text.encode_ascii(line)[:-1] + more + b',"time":' + str(int(time() * 1000)).encode() + b"}\n")
            return
        if fields is not None:
            data += b" " + fields
        kind = "errors" if level >= 3 else "logs"
        try:
            file = self.files.get(kind)
            if file is None:
                path = self.directory + "/" + self.id + "_" + kind + ".log"
                file = self.files[kind] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            _write(file, data + b"\n")
        except OSError:
            pass  # a full disk must not fail the call

    def close(self):
        for file in self.files.values():
            os.close(file)
        self.files.clear()


# The real ones: os.write is replaced for user code.
_write = os.write


def write_out(data):
    try:
        while data:
            data = data[_write(1, data) :]
    except OSError:
        pass  # a closed stdout must not end the server
