"""A response's body that leaves in pieces: what `res.stream` was given, taken at the pace at which it finds its reader."""

from . import PRISTINE as __builtins__  # noqa: A004

from .news import News
from .response import InvalidResponse

PIECE_BYTES = 256 * 1024


def is_stream(value):
    return type(value) is dict and "stream" in value


def is_async(source):
    return hasattr(source, "__aiter__")


def source_of(value):
    """What a streamed response takes its pieces from."""
    source = value["stream"]
    if callable(source) and not hasattr(source, "__iter__") and not is_async(source):
        source = source()
    if isinstance(source, (str, bytes, bytearray, memoryview)):
        source = (source,)
    if not hasattr(source, "__iter__") and not is_async(source):
        raise InvalidResponse("res.stream takes an iterable of str or bytes, plain or async, not " + type(source).__name__ + ".")
    return source


class Outgoing:
    """`put(piece)` sends one; it is called only when there is room, which `grant` gives, and not after `stop`."""

    __slots__ = ("put", "granted", "used", "over", "news")

    def __init__(self, put, room):
        self.put = put
        self.granted = room
        self.used = 0
        self.over = False
        self.news = News()

    def grant(self, pieces):
        self.granted += pieces
        self.news.tell()

    def stop(self):
        """Nobody reads it any more."""
        self.over = True
        self.news.tell()

    def _may_go_on(self):
        return self.over or self.granted > self.used

    def _send(self, piece):
        if not self.over:
            self.used += 1
            self.put(piece)

    def pump(self, source):
        """Sends all of a plain iterable, blocking this thread. Raises what it raises."""
        iterator = iter(source)
        try:
            for item in iterator:
                for piece in _pieces(item):
                    self.news.wait(self._may_go_on)
                    self._send(piece)
                if self.over:
                    return
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    async def pump_async(self, source):
        """Sends all of an iterable of either kind."""
        if not is_async(source):
            source = _lifted(source)
        iterator = source.__aiter__()
        try:
            async for item in iterator:
                for piece in _pieces(item):
                    await self.news.wait_async(self._may_go_on)
                    self._send(piece)
                if self.over:
                    return
        finally:
            if hasattr(iterator, "aclose"):
                await iterator.aclose()


async def _lifted(source):
    for item in source:
        yield item


def _pieces(item):
    if isinstance(item, str):
        item = item.encode("utf-8", "replace")
    elif not isinstance(item, (bytes, bytearray, memoryview)):
        raise InvalidResponse("A stream gives str or bytes, not " + type(item).__name__ + ".")
    if len(item) <= PIECE_BYTES:
        return (bytes(item),) if item else ()
    view = memoryview(item).cast("B")
    return [bytes(view[at : at + PIECE_BYTES]) for at in range(0, len(view), PIECE_BYTES)]
