"""Reads a request's body beside the function that may ask for `body_stream`: on a thread of its own, no faster than it is taken."""

from . import PRISTINE as __builtins__  # noqa: A004

from _thread import start_new_thread
from time import monotonic

from .http_message import BadRequest, Closed
from .incoming import IncomingBody
from .news import News

# A body that pauses this long, or takes this long as a whole, is not waited for before the function is called.
PAUSE_SECONDS, LONGEST_SECONDS = 0.25, 3.0
# Pieces that may wait for the function.
WAITING_PIECES = 16


class BodyReader:
    def __init__(self, connection, head):
        self.connection = connection
        self.head = head
        self.incoming = IncomingBody(self._taken)
        self.progress = News()
        self.room = News()
        self.released = False
        self.refusal = None

    def start(self):
        """The body, whole or on its way. Raises BadRequest or Closed for one that has turned out bad."""
        start_new_thread(self._read, ())
        incoming, deadline = self.incoming, monotonic() + LONGEST_SECONDS
        while not incoming.ended and incoming.broken is None:
            have = len(incoming.pieces)
            seconds = min(PAUSE_SECONDS, deadline - monotonic())
            if seconds <= 0 or not self.progress.wait(lambda: len(incoming.pieces) > have or incoming.ended or incoming.broken is not None, seconds):  # noqa: B023
                break
        if incoming.broken is not None:
            raise self.refusal or Closed
        self.released = True
        return incoming

    def _taken(self):
        self.room.tell()

    def _read(self):
        incoming = self.incoming
        try:
            for piece in self.connection.body_pieces(self.head):
                incoming.push(piece)
                self.progress.tell()
                if self.released:
                    self.room.wait(lambda: len(incoming.pieces) < WAITING_PIECES or incoming.broken is not None)
            incoming.end()
        except BadRequest as error:
            self.refusal = error
            incoming.fail(str(error))
        except Closed:
            incoming.fail("The caller has closed the connection.")
        self.progress.tell()
