"""HTTP/1.1 on a socket: requests read strictly and within bounds, responses written whole. Everything received is hostile."""

from . import PRISTINE as __builtins__  # noqa: A004

import socket
from time import monotonic

MAXIMUM_HEAD = 64 * 1024
MAXIMUM_BODY = 20 * 1024 * 1024
# A client may be idle between requests this long, must send a head within this time, and in a body or while reading the
# response must not pause longer than this, seconds.
IDLE_SECONDS = 60
HEAD_SECONDS = 15
PAUSE_SECONDS = 20

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 301: "Moved Permanently", 302: "Found", 303: "See Other",
    304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large",
    414: "URI Too Long", 417: "Expectation Failed", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}  # fmt: skip


class BadRequest(Exception):
    """Raised for a request that gets an error status and the end of its connection."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Closed(Exception):
    """Raised when the client is gone, or too slow to bother."""


class Head:
    __slots__ = ("method", "target", "headers", "keep_alive", "length", "expects_continue")


class Connection:
    """One client."""

    def __init__(self, sock):
        self.sock = sock
        self.held = b""

    def _more(self, seconds, silent=False):
        try:
            self.sock.settimeout(max(seconds, 0.001))
            data = self.sock.recv(65536)
        except TimeoutError:
            if silent:
                raise Closed from None
            raise BadRequest(408, "The request did not come in time.") from None
        except OSError:
            raise Closed from None
        if not data:
            raise Closed
        self.held += data

    def read_head(self):
        """The next request's head. Raises BadRequest or Closed."""
        while not self.held.lstrip(b"\r\n"):
            self.held = b""
            self._more(IDLE_SECONDS, silent=True)
        self.held = self.held.lstrip(b"\r\n")
        deadline = monotonic() + HEAD_SECONDS
        while (end := self.held.find(b"\r\n\r\n")) < 0:
            if len(self.held) > MAXIMUM_HEAD:
                raise BadRequest(431, "The request's head is too long.")
            self._more(deadline - monotonic())
        if end > MAXIMUM_HEAD:
            raise BadRequest(431, "The request's head is too long.")
        lines = self.held[:end].decode("latin-1").split("\r\n")
        self.held = self.held[end + 4 :]
        return _parsed(lines)

    def read_body(self, head):
        """The body, at most MAXIMUM_BODY bytes."""
        pieces = list(self.body_pieces(head))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def body_pieces(self, head):
        """The body as it comes, at most MAXIMUM_BODY bytes."""
        if head.length == 0:
            return
        if head.expects_continue and not self.held:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if head.length is None:
            yield from self._chunked()
        else:
            yield from self._parts(head.length)

    def _parts(self, left):
        while left > 0:
            if not self.held:
                self._more(PAUSE_SECONDS)
            piece, self.held = self.held[:left], self.held[left:]
            left -= len(piece)
            yield piece

    def _line(self):
        while (end := self.held.find(b"\r\n")) < 0:
            if len(self.held) > 4096:
                raise BadRequest(400, "A line of the chunked body is too long.")
            self._more(PAUSE_SECONDS)
        line, self.held = self.held[:end], self.held[end + 2 :]
        return line

    def _chunked(self):
        total = 0
        while True:
            size = self._line().partition(b";")[0].strip(b" \t")
            if not size or len(size) > 8 or not frozenset(b"0123456789abcdefABCDEF").issuperset(size):
                raise BadRequest(400, "The chunked body is malformed.")
            length = int(size, 16)
            total += length
            if total > MAXIMUM_BODY:
                raise BadRequest(413, "The request body is too large.")
            if length == 0:
                for _ in range(64):
                    if not self._line():
                        return
                raise BadRequest(400, "The chunked body has too many trailers.")
            yield from self._parts(length)
            if self._line():
                raise BadRequest(400, "The chunked body is malformed.")

    def _send(self, data):
        try:
            self.sock.settimeout(PAUSE_SECONDS)
            view = memoryview(data)
            while view:
                # By hand, because sendall takes its timeout for the whole.
                view = view[self.sock.send(view) :]
        except OSError:
            raise Closed from None

    def respond(self, status, headers, body, keep_alive, head_only=False):
        length = [] if status in (204, 304) else [("content-length", str(len(body)))]
        self._send(_head(status, headers + length, keep_alive) + (b"" if head_only else body))

    def begin_chunks(self, status, headers, keep_alive):
        self._send(_head(status, [*headers, ("transfer-encoding", "chunked")], keep_alive))

    def chunk(self, data):
        self._send(format(len(data), "x").encode() + b"\r\n" + data + b"\r\n")

    def end_chunks(self):
        self._send(b"0\r\n\r\n")

    def linger(self):
        """Takes what a client is still sending, within bounds, so that it gets to read the answer before the connection ends."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(0.5)
            deadline, taken = monotonic() + 2, 0
            while monotonic() < deadline and taken < 2 * MAXIMUM_BODY:
                data = self.sock.recv(262144)
                if not data:
                    break
                taken += len(data)
        except OSError:
            pass


def _head(status, headers, keep_alive):
    lines = ["HTTP/1.1 " + str(status) + " " + REASONS.get(status, "Status")]
    lines += [name + ": " + value for name, value in headers]
    lines.append("connection: " + ("keep-alive" if keep_alive else "close"))
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"


def _parsed(lines):
    head = Head()
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[0] or not _TOKEN.issuperset(parts[0]) or not parts[1] or len(parts[0]) > 32:
        raise BadRequest(400, "The request line is malformed.")
    head.method, head.target, version = parts
    if any(character <= " " or character == "\x7f" for character in head.target):
        raise BadRequest(400, "The request target is malformed.")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(505 if version.startswith("HTTP/") else 400, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    headers: dict = {}
    if len(lines) > 201:
        raise BadRequest(431, "The request has too many headers.")
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or not _TOKEN.issuperset(name) or any(character in value for character in "\r\n\0"):
            raise BadRequest(400, "A header of the request is malformed.")
        name, value = name.lower(), value.strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name in ("host", "content-length", "transfer-encoding"):
            raise BadRequest(400, "The header " + name + " comes twice.")
        else:
            headers[name] += ("; " if name == "cookie" else ", ") + value
    if version == "HTTP/1.1" and "host" not in headers:
        raise BadRequest(400, "The header host is missing.")
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None or version == "HTTP/1.0":
            raise BadRequest(400, "The request's length is ambiguous.")
        if coding.lower() != "chunked":
            raise BadRequest(501, "The transfer encoding is not supported.")
        head.length = None
    elif length is not None:
        if not length.isascii() or not length.isdigit() or len(length) > 15:
            raise BadRequest(400, "The header content-length is malformed.")
        head.length = int(length)
        if head.length > MAXIMUM_BODY:
            raise BadRequest(413, "The request body is too large.")
    else:
        head.length = 0
    expect = headers.get("expect", "").lower()
    if expect not in ("", "100-continue"):
        raise BadRequest(417, "The expectation is not supported.")
    head.expects_continue = expect == "100-continue"
    connection = headers.get("connection", "").lower()
    head.keep_alive = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    head.headers = headers
    return head
