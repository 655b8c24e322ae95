"""Stands in for Flask where it is not installed: `request`, `jsonify`, `make_response`, `Response`, `abort`, `redirect`, `current_app.logger`."""

import json as _json
import logging as _logging
from contextvars import ContextVar as _ContextVar
from http import HTTPStatus as _HTTPStatus
from urllib.parse import parse_qsl as _parse_qsl

_request = _ContextVar("treadle_flask_request")


class MultiDict(dict):
    """The first value by name; `getlist` has all."""

    def __init__(self, pairs):
        super().__init__()
        self._all = {}
        for name, value in pairs:
            self._all.setdefault(name, []).append(value)
            self.setdefault(name, value)

    def get(self, name, default=None, type=None):
        if name not in self:
            return default
        try:
            return self[name] if type is None else type(self[name])
        except (ValueError, TypeError):
            return default

    def getlist(self, name):
        return list(self._all.get(name, ()))


class Headers(dict):
    """Header names of any case."""

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Request:
    def __init__(self, given):
        self.method = given.method
        self.path = given.path
        self.query_string = given.query_string.encode()
        self.full_path = given.path + "?" + given.query_string
        self.url = given.url
        self.base_url = given.url.partition("?")[0]
        self.host = given.host
        self.scheme = given.scheme
        self.headers = Headers(given.headers)
        self.data = given.body_binary
        self.content_type = given.headers.get("content-type", "")
        self.mimetype = self.content_type.partition(";")[0].strip().lower()
        self.is_json = self.mimetype == "application/json" or self.mimetype.endswith("+json")
        self.args = MultiDict(_parse_qsl(given.query_string, keep_blank_values=True))
        is_form = self.mimetype == "application/x-www-form-urlencoded"
        self.form = MultiDict(_parse_qsl(given.body_text, keep_blank_values=True) if is_form else ())
        self.values = MultiDict([*self.args.items(), *self.form.items()])
        cookies = (pair.partition("=") for pair in given.headers.get("cookie", "").split(";"))
        self.cookies = {name.strip(): value.strip() for name, equals, value in cookies if equals}

    def get_data(self, cache=True, as_text=False):
        return self.data.decode("utf-8", "replace") if as_text else self.data

    def get_json(self, force=False, silent=False, cache=True):
        if not self.is_json and not force:
            return None if silent else abort(415, "The request's content type is not application/json.")
        try:
            return _json.loads(self.data)
        except ValueError:
            return None if silent else abort(400, "The request's body is not valid JSON.")

    @property
    def json(self):
        return self.get_json()


class _Proxy:
    def __getattr__(self, name):
        try:
            return getattr(_request.get(), name)
        except LookupError:
            raise RuntimeError("flask.request is there only while a request is answered.") from None


request = _Proxy()


class Response:
    def __init__(self, response=b"", status=200, headers=None, mimetype=None, content_type=None):
        self.data = response.encode() if isinstance(response, str) else response
        self.status_code = int(str(status).split(" ")[0])
        self.headers = dict(headers or {})
        kind = content_type or mimetype
        if kind is not None or not any(name.lower() == "content-type" for name in self.headers):
            self.headers["Content-Type"] = kind or "text/html"


class HTTPException(Exception):
    def __init__(self, code, description):
        super().__init__(description)
        self.code = code


def abort(code, description=None):
    raise HTTPException(code, description or _HTTPStatus(code).phrase)


def redirect(location, code=302):
    return Response("", code, {"Location": location})


def jsonify(*values, **named):
    value = named if named else values[0] if len(values) == 1 else list(values)
    return Response(_json.dumps(value, ensure_ascii=False, separators=(",", ":")), mimetype="application/json")


def make_response(*value):
    value = value[0] if len(value) == 1 else value
    status, headers = None, {}
    if isinstance(value, tuple):
        if len(value) == 3:
            value, status, headers = value
        elif isinstance(value[1], (dict, list)):
            value, headers = value
        else:
            value, status = value
    if isinstance(value, (dict, list)):
        value = jsonify(value)
    if not isinstance(value, Response):
        if not isinstance(value, (str, bytes, bytearray)):
            raise TypeError("main() returned a value of type " + type(value).__name__ + "; return text, bytes, a dict or a response.")
        value = Response(value)
    if status is not None:
        value.status_code = int(str(status).split(" ")[0])
    for name, header in headers.items() if isinstance(headers, dict) else headers:
        value.headers = {key: old for key, old in value.headers.items() if key.lower() != name.lower()}
        value.headers[name] = header
    return value


class current_app:  # noqa: N801
    logger = _logging.getLogger("function")


def answer(main, given):
    """A response as our handlers have it, of what main returns or raises."""
    _request.set(Request(given))
    try:
        value = main()
        if hasattr(value, "__await__"):
            return _awaited(value)
        return _plain(make_response(value))
    except HTTPException as error:
        return _plain(Response(str(error), error.code))


async def _awaited(value):
    try:
        return _plain(make_response(await value))
    except HTTPException as error:
        return _plain(Response(str(error), error.code))


def _plain(response):
    return {"body": response.data, "statusCode": response.status_code, "headers": response.headers}
