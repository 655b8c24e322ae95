"""From what a handler returned to status, headers and body, by the rules of Open Runtimes v5."""

from . import PRISTINE as __builtins__  # noqa: A004

# Said by the transport about the connection, not by user code about the answer.
_CONNECTION_HEADERS = frozenset(("connection", "keep-alive", "content-length", "transfer-encoding", "upgrade", "trailer", "te"))
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")

HIDDEN_PREFIX = "x-open-runtimes-"


class InvalidResponse(Exception):
    """Raised for a value that is no response; the message says what is wrong with it."""


def rendered(value):
    """(status, [(name, value)], body bytes) of a returned value."""
    if value is None:
        raise InvalidResponse("Return statement missing. return context.res.empty() if no response is expected.")
    if not isinstance(value, dict) or not ("body" in value or "statusCode" in value):
        raise InvalidResponse("main() returned a value of type " + type(value).__name__ + "; return context.res.json(...) or another response.")
    status = value.get("statusCode", 200)
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise InvalidResponse("The status of the response must be a whole number from 200 to 599, not " + repr(status)[:100] + ".")
    body = value.get("body", b"")
    if isinstance(body, str):
        body = body.encode("utf-8", "replace")
    elif isinstance(body, (bytes, bytearray, memoryview)):
        body = bytes(body)
    elif body is None:
        body = b""
    else:
        raise InvalidResponse("The body of the response must be text or bytes, not " + type(body).__name__ + ".")
    return int(status), _headers(value.get("headers") or {}), b"" if status in (204, 304) else body


def _headers(given):
    content_type = "text/plain"
    result = []
    pairs = given.items() if isinstance(given, dict) else given
    try:
        for name, value in pairs:
            name = str(name).lower()
            if name.startswith(HIDDEN_PREFIX) or name in _CONNECTION_HEADERS or value is None:
                continue
            if not name or not _TOKEN.issuperset(name):
                raise InvalidResponse("The response has a header whose name is not valid: " + repr(name)[:100] + ".")
            for one in value if isinstance(value, (list, tuple)) else (value,):
                text = _header_text(one)
                if any(character in "\r\n\0" for character in text):
                    raise InvalidResponse("The value of the response header " + name + " holds a line break or NUL.")
                if name == "content-type":
                    content_type = text
                else:
                    result.append((name, text))
    except (TypeError, ValueError):
        raise InvalidResponse("The headers of the response must be a dict.") from None
    return [("content-type", _content_type(content_type)), *result]


def _header_text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value).encode("utf-8", "replace").decode()


def _content_type(text):
    lower = text.lower()
    if lower.startswith("multipart/"):
        # The boundary is told apart by case.
        kind, semicolon, rest = text.partition(";")
        return kind.lower() + semicolon + rest
    return lower if "charset=" in lower else lower + "; charset=utf-8"
