"""Files of the workspace: saving what user code made, and opening what it has the id of.

Bytes to be saved go to the host over the channel, as fast as it gives credit; what is opened appears below /files.
Both calls block their thread, whichever it is. Loaded when first used.
"""

from . import PRISTINE as __builtins__  # noqa: A004

import posix
from _struct import Struct
from _thread import allocate_lock

from . import json_text
from .cancel import Cancelled
from .channel import FILE, Turn

# What a FILE frame says, and what its answer does.
SAVE, DATA, END, ABORT, OPEN = 1, 2, 3, 4, 5
CREDIT, DONE = 1, 2

# Bytes in one DATA frame.
CHUNK_BYTES = 128 * 1024
# Most bytes of JSON that the host takes.
MAXIMUM_REQUEST = 64 * 1024
_FORMAT, _REGULAR = 0o170000, 0o100000

_head = Struct("<IB")


class FileError(Exception):
    """Raised when the host refuses a file; `code` is that of its catalogue of errors."""

    def __init__(self, failure):
        super().__init__(failure["message"])
        self.code = failure["code"]


class FileInfo(dict):
    """What is known of a file. Can be awaited, which is what people write in async functions; there is nothing to wait for any more."""

    def __await__(self):
        return self
        yield


class Transfer:
    """One file on its way. `granted` and `outcome` are set by whoever reads the channel, `used` by the thread that sends."""

    __slots__ = ("execution", "number", "granted", "used", "outcome", "news")

    def __init__(self, execution, number):
        self.execution = execution
        self.number = number
        self.granted = self.used = 0
        # (what, JSON value); (0, None): the execution has ended.
        self.outcome = None
        # Taken; given back whenever something has changed.
        self.news = allocate_lock()
        self.news.acquire()

    def send(self, operation, payload):
        if not self.execution.send(FILE, _head.pack(self.number, operation) + payload):
            raise Cancelled

    def wait(self):
        from .frames import Server

        Server.scheduler.step_aside()
        self.news.acquire()

    def tell(self):
        try:
            self.news.release()
        except RuntimeError:
            pass  # it has been told, and has not looked yet

    def may_send(self):
        """Waits for a credit, and takes it; false: the host has answered already."""
        while self.granted == self.used and self.outcome is None:
            self.wait()
        self.used += 1
        return self.outcome is None

    def result(self):
        while self.outcome is None:
            self.wait()
        what, value = self.outcome
        if what == DONE:
            return FileInfo(value)
        if what == 0:
            raise Cancelled
        raise FileError(value)


class Transfers:
    """The files of one execution that are being saved or opened."""

    def __init__(self, execution):
        self.execution = execution
        self.open = {}
        self.last = 0
        self.numbering = allocate_lock()

    def begin(self, operation, request):
        text = json_text.encode_ascii(request)
        if len(text) > MAXIMUM_REQUEST:
            raise FileError({"code": "BAD_REQUEST", "message": "What is said of the file (name, type, description, id) is too long."})
        with self.numbering:
            self.last += 1
            transfer = self.open[self.last] = Transfer(self.execution, self.last)
        transfer.send(operation, text)
        return transfer

    def answer(self, payload):
        """Takes the payload of a FILE_ANSWER."""
        number, what = _head.unpack_from(payload)
        transfer = self.open.get(number)
        if transfer is None:
            return
        if what == CREDIT:
            transfer.granted += int.from_bytes(payload[5:9], "little")
        else:
            transfer.outcome = (what, json_text.parse(payload[5:].decode()))
        transfer.tell()

    def end(self):
        """The execution has ended: nobody answers any more."""
        for transfer in list(self.open.values()):
            if transfer.outcome is None:
                transfer.outcome = (0, None)
            transfer.tell()


def _transfers_of(execution, name):
    if Turn.broken:
        raise RuntimeError(name + " is not available here: not over HTTP, and not in a child process")
    if not execution.id or execution.closed:
        raise RuntimeError(name + " works only while the call runs")
    if execution.transfers is None:
        with _making:
            if execution.transfers is None:
                execution.transfers = Transfers(execution)
    return execution.transfers


_making = allocate_lock()


def save_file(execution, path, name, type, description, content):
    """Sends a file to the host; what it has become there: {"id", "name", "mimeType", "size", "sha256"}."""
    transfers = _transfers_of(execution, "save_file")
    if (path is None) == (content is None):
        raise TypeError("save_file takes a path, or content with a name")
    request = {"name": name, "mimeType": type, "description": description}
    if path is None:
        if not isinstance(name, str):
            raise TypeError("save_file needs a name for content that has no path")
        if isinstance(content, str):
            content = content.encode()
        if isinstance(content, (bytes, bytearray, memoryview)):
            content = memoryview(content).cast("B")
            request["size"] = len(content)
            return _send(transfers, request, (content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)))
        return _send(transfers, request, _in_chunks(content))
    path = posix.fspath(path)
    # A pipe without a writer would keep us waiting.
    file = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    try:
        status = posix.fstat(file)
        if status.st_mode & _FORMAT != _REGULAR:
            raise ValueError(repr(path) + " is not a regular file")
        if name is None:
            text = path.decode("utf-8", "replace") if isinstance(path, bytes) else path
            request["name"] = text.rpartition("/")[2]
        size = status.st_size
        if size:
            request["size"] = size
        return _send(transfers, request, _bytes_of(file, size))
    finally:
        posix.close(file)


def open_file(execution, id):
    """Has the host lay out a file; what and where it is: {"id", "name", "mimeType", "size", "sha256", "path"}."""
    if not isinstance(id, str):
        raise TypeError("open_file takes the id of a file")
    transfers = _transfers_of(execution, "open_file")
    transfer = transfers.begin(OPEN, {"id": id})
    try:
        return transfer.result()
    finally:
        transfers.open.pop(transfer.number, None)


def _send(transfers, request, chunks):
    transfer = transfers.begin(SAVE, request)
    try:
        for chunk in chunks:
            if not transfer.may_send():
                break
            transfer.send(DATA, bytes(chunk))
        if transfer.outcome is None:
            transfer.send(END, b"")
        return transfer.result()
    except BaseException:
        if transfer.outcome is None:
            transfer.execution.send(FILE, _head.pack(transfer.number, ABORT))
        raise
    finally:
        transfers.open.pop(transfer.number, None)


def _bytes_of(file, size):
    """What an open file holds: `size` bytes, or all there is where the system does not know (0)."""
    at = 0
    while size == 0 or at < size:
        data = posix.read(file, CHUNK_BYTES if size == 0 else min(CHUNK_BYTES, size - at))
        if not data:
            return
        at += len(data)
        yield data


def _in_chunks(parts):
    """Parts of any size (a file opened for reading, a generator) as chunks for the channel."""
    held = bytearray()
    for part in parts:
        held += part.encode() if isinstance(part, str) else part
        while len(held) >= CHUNK_BYTES:
            yield held[:CHUNK_BYTES]
            del held[:CHUNK_BYTES]
    if held:
        yield held
