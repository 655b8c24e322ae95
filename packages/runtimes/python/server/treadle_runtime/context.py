"""What a handler gets: `context.req`, `context.res`, `context.log`, `context.error`, with the names Open Runtimes v5 has in Python."""

from . import PRISTINE as __builtins__  # noqa: A004

import posix

from . import json_text
from .execution import DEBUG, ERROR_LEVEL, INFO, WARN


class Request:
    """An HTTP request. `url` is absolute, or a path whose host is taken from the headers."""

    def __init__(self, method, url, headers, body):
        self.method = method
        self.headers = headers
        self.body_binary = body
        url = url.partition("#")[0]
        if "://" in url[:12] and not url.startswith("/"):
            self.scheme, _, rest = url.partition("://")
            cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
            authority, target = rest[:cut], rest[cut:]
        else:
            self.scheme, authority, target = "http", "", url
        forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        if forwarded in ("http", "https"):
            self.scheme = forwarded
        authority = headers.get("host") or authority
        host, colon, port = authority.rpartition(":")
        usual = 443 if self.scheme == "https" else 80
        if colon and port.isascii() and port.isdigit() and len(port) <= 5 and not host.endswith(":"):
            self.host, self.port = host, int(port)
        else:
            self.host, self.port = authority, usual
        path, _, self.query_string = target.partition("?")
        self.path = path or "/"
        self.url = self.scheme + "://" + self.host + ("" if self.port == usual else ":" + str(self.port)) + self.path
        if self.query_string:
            self.url += "?" + self.query_string

    @property
    def query(self):
        """Undecoded values by name: `c==d` gives `=d`, `k` gives an empty text."""
        found = {}
        for pair in self.query_string.split("&"):
            name, _, value = pair.partition("=")
            if name:
                found[name] = value
        return found

    @property
    def body_text(self):
        return self.body_binary.decode("utf-8", "replace")

    @property
    def body_json(self):
        from json import loads

        try:
            return loads(self.body_binary)
        except (ValueError, RecursionError) as error:
            raise ValueError("The request body is not valid JSON: " + str(error)) from None

    @property
    def body_stream(self):
        """The body as it comes, for `for` and `async for`: pieces of bytes."""
        from . import incoming

        return incoming.of(self.body_binary)

    @property
    def body(self):
        if self.headers.get("content-type", "").lower().startswith("application/json"):
            return self.body_json if self.body_binary else {}
        return self.body_text

    # Older names.
    body_raw = payload = body_text

    @property
    def env(self):
        return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in posix.environ.items()}

    variables = env


def _merged(headers, name, value):
    merged = {key: item for key, item in (headers or {}).items() if str(key).lower() != name}
    merged[name] = value
    return merged


class Response:
    """Makes responses; the one that is returned is sent."""

    def __init__(self):
        self.last = None

    def _made(self, body, status, headers):
        self.last = {"body": body, "statusCode": status, "headers": headers or {}}
        return self.last

    def binary(self, body, status=200, headers=None):
        if not any(str(name).lower() == "content-type" for name in headers or ()):
            headers = {**(headers or {}), "content-type": "application/octet-stream"}
        return self._made(body, status, headers)

    def text(self, body, status=200, headers=None):
        return self._made(body if isinstance(body, (bytes, bytearray)) else str(body), status, headers)

    def json(self, value, status=200, headers=None):
        return self._made(json_text.encode(value), status, _merged(headers, "content-type", "application/json"))

    def redirect(self, url, status=301, headers=None):
        return self._made(b"", status, _merged(headers, "location", url))

    def empty(self):
        return self._made(b"", 204, None)

    def stream(self, source, status=200, headers=None):
        """`source`: an iterable of str or bytes, plain or async (a generator), or a function that returns one."""
        self.last = {"stream": source, "statusCode": status, "headers": headers or {}}
        return self.last

    def send(self, body, status=200, headers=None):
        """Deprecated: text or binary, whichever the body is."""
        return self.text(body, status, headers)


class Logger:
    """`context.logger`: a message, and fields that stay apart from it."""

    def __init__(self, execution):
        self._execution = execution

    def debug(self, message, fields=None):
        self._execution.log(DEBUG, _shown(message), fields)

    def info(self, message, fields=None):
        self._execution.log(INFO, _shown(message), fields)

    def warn(self, message, fields=None):
        self._execution.log(WARN, _shown(message), fields)

    warning = warn

    def error(self, message, fields=None):
        self._execution.log(ERROR_LEVEL, _shown(message), fields)


class Context:
    def __init__(self, request, execution):
        self.req = request
        self.res = Response()
        self._execution = execution

    def log(self, *values):
        self._execution.log(INFO, " ".join(map(_shown, values)))

    def error(self, *values):
        self._execution.log(ERROR_LEVEL, " ".join(map(_shown, values)))

    @property
    def logger(self):
        return Logger(self._execution)

    def save_file(self, path=None, name=None, type=None, description=None, content=None):
        """Saves a file of the sandbox, or content, as a file of the workspace: {"id", "name", "mimeType", "size", "sha256"}."""
        from .files import save_file

        return save_file(self._execution, path, name, type, description, content)

    def open_file(self, id):
        """Makes a file of the workspace readable: {"id", "name", "mimeType", "size", "sha256", "path"}."""
        from .files import open_file

        return open_file(self._execution, id)


def _shown(value):
    if isinstance(value, (dict, list, tuple)):
        try:
            return json_text.encode(value).decode()
        except (TypeError, ValueError, RecursionError):
            pass
    return str(value)
