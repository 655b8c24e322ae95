"""A request's body that comes in pieces: `context.req.body_stream`. Can be read by `for` and by `async for`; asking for the whole waits for it."""

from . import PRISTINE as __builtins__  # noqa: A004

from _collections import deque

from .context import Request
from .news import News


class BodyBroken(Exception):
    """Raised where a body is read that will not come whole."""


class IncomingBody:
    """`taken()` is called for each piece that has found its reader."""

    __slots__ = ("pieces", "ended", "broken", "news", "taken", "data")

    def __init__(self, taken=None):
        self.pieces = deque()
        self.ended = False
        self.broken = None
        self.news = News()
        self.taken = taken
        self.data = None

    def push(self, piece):
        self.pieces.append(piece)
        self.news.tell()

    def end(self):
        self.ended = True
        self.news.tell()

    def fail(self, reason):
        if not self.ended:
            self.broken = reason
            self.news.tell()

    def _has_news(self):
        return bool(self.pieces) or self.ended or self.broken is not None

    def _next(self):
        """A piece, or None at the end; to be called when there is news."""
        if self.pieces:
            piece = self.pieces.popleft()
            if self.taken is not None:
                self.taken()
            return piece
        if self.ended:
            return None
        raise BodyBroken(self.broken)

    def whole(self):
        """All that has not been read as a stream."""
        if self.data is None:
            self.data = b"".join(self)
        return self.data

    def __iter__(self):
        while True:
            self.news.wait(self._has_news)
            piece = self._next()
            if piece is None:
                return
            yield piece

    async def __aiter__(self):
        while True:
            await self.news.wait_async(self._has_news)
            piece = self._next()
            if piece is None:
                return
            yield piece


class StreamedRequest(Request):
    """A request whose body is under way."""

    def __init__(self, method, url, headers, incoming):
        self.body_stream = incoming
        super().__init__(method, url, headers, None)

    @property
    def body_binary(self):
        return self.body_stream.whole()

    @body_binary.setter
    def body_binary(self, _nothing):
        pass

    body_stream = None


def of(data):
    """The stream of a body that has come."""
    incoming = IncomingBody()
    if data:
        incoming.pieces.append(data)
    incoming.ended = True
    return incoming
