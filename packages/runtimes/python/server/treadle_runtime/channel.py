"""Frames on file descriptor 3 (CHANNEL.md): collected in `out`, written once per turn by whichever thread gets to it."""

from . import PRISTINE as __builtins__  # noqa: A004

from _struct import Struct
from _thread import allocate_lock, get_ident
from posix import _exit, write

CHANNEL = 3

LOAD, CALL, CANCEL, PING, FILE_ANSWER, BODY, BODY_END, CREDIT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08
READY, LOADED, RESULT, ERROR, LOG, PONG, CANCELLED, FILE = 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88
HEAD, PIECE, BODY_CREDIT = 0x89, 0x8A, 0x8B

# Frames not written yet from which on whoever adds one waits.
FLOOD_FRAMES = 10_000
MAXIMUM_FRAME = 64 * 1024 * 1024

head = Struct("<IBI")
log_head = Struct("<IBIBBd")

out: list = []
_writing = allocate_lock()


class Turn:
    """`gathering`: a thread is busy with a turn and will flush at its end, so others need not."""

    gathering = False
    # The channel is not ours: in a child of user code, or under the HTTP transport.
    broken = False
    # Thread of the event loop, and what has it flush at the end of its turn.
    loop_thread = None
    defer = None
    # Wakes the scheduler's watchdog, which writes what a blocked event loop holds back.
    rouse = None


def send(kind, id, payload, pack=head.pack, append=out.append):
    append(pack(len(payload) + 5, kind, id) + payload)


def flush():
    """Writes all collected frames. Blocks while the host does not read, which is what slows a flood of logs down.

    Does not wait for another thread's flush: that one looks again when it is done. (A lock waited for here could also
    be met by the same thread, when the garbage collector runs a finaliser that prints.)
    """
    while out:
        # A flood from a thread of user code has to wait for the host; for a second at a time, in case it waits for itself.
        flooded = len(out) > FLOOD_FRAMES
        if not _writing.acquire(flooded, 1 if flooded else -1):
            return
        try:
            # A copy and a deletion by length are atomic each, so frames appended meanwhile are kept for the next round.
            frames = out[:]
            del out[: len(frames)]
            if Turn.broken:
                return
            data = b"".join(frames)
            try:
                written = write(CHANNEL, data)
                if written < len(data):
                    rest = memoryview(data)
                    while written < len(data):
                        written += write(CHANNEL, rest[written:])
            except OSError:
                # The host is gone; closing the channel is its order to exit.
                _exit(0)
        finally:
            _writing.release()


def flush_unless_gathering():
    if not Turn.gathering:
        if Turn.loop_thread is not None and get_ident() == Turn.loop_thread:
            Turn.defer()
        else:
            flush()
