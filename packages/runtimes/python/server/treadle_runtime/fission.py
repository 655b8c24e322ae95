"""The environment contract of Fission: a generic container is told once which function it is, then every request is that function's.

Written from the behaviour of fission/environments (python/server.py). Its functions are `main()` with Flask's `request`: Flask is used when it is installed,
else fission_flask.py stands in for what functions commonly use of it. Functions with a parameter get our `context`.
"""

from . import PRISTINE as __builtins__  # noqa: A004

import os
import sys
from _thread import allocate_lock

from . import json_text
from .entry_file import load_entry
from .execution import ERROR_LEVEL, system
from .handler import HandlerContract, positional_count
from .response import HIDDEN_PREFIX

# Where Fission's fetcher leaves the function, for the first form of the contract.
USER_FUNCTION = "/userfunc/user"
TEXT = [("content-type", "text/plain; charset=utf-8")]
_specializing = allocate_lock()


class Generic:
    """The container before it is specialised, and the judge of requests to its own paths."""

    contract = None

    @classmethod
    def route(cls, method, path, body):
        """(status, headers, body) of an answer; None: the request is the function's."""
        if path == "/healthz" and method == "GET":
            return 200, TEXT, b""
        if method == "POST" and path in ("/specialize", "/v2/specialize"):
            with _specializing:
                if cls.contract is not None:
                    return 400, TEXT, b"Not a generic container"
                return cls._specialize(path, body)
        if cls.contract is None:
            return 500, TEXT, b"Generic container: no requests supported"
        return None

    @classmethod
    def _specialize(cls, path, body):
        if path == "/specialize":
            file, name = os.environ.get("TREADLE_CODE") or USER_FUNCTION, "main"
        else:
            try:
                told = json_text.parse(body.decode().strip())
                file, name = _module_of(told["filepath"], told.get("functionName") or "")
            except (ValueError, StopIteration, KeyError, TypeError, AttributeError):
                return 500, TEXT, b"The body must be JSON with a filepath and a functionName."
        _prepare_flask()
        entry = load_entry(os.path.dirname(file), os.path.basename(file), name)
        if entry.function is None:
            error = entry.errors[""]
            system.log(ERROR_LEVEL, error.get("stack") or error["message"])
            return 500, [("content-type", "application/json")], json_text.encode({"message": error["message"]})
        cls.contract = FissionContract(entry)
        return 202, TEXT, b""


def _module_of(filepath, function_name):
    """(file, function) of a v2 request: `path.to.module.function` below a folder, or a function of the file."""
    module, _, name = function_name.rpartition(".")
    if not os.path.isdir(filepath):
        return filepath, name or "main"
    return os.path.join(filepath, *(module or "main").split(".")) + ".py", name or "main"


class FissionContract(HandlerContract):
    def __init__(self, entry):
        self.errors, self.imports, self.files = entry.errors, entry.imports, {}
        self.main = entry.function
        self.enforced = {}
        self.awaits_nothing = entry.awaits_nothing
        self.streams_body = False
        count = positional_count(entry.function)
        self.takes_pair = count >= 2
        self.takes_nothing = count == 0

    def visible_headers(self, headers):
        return {name: value for name, value in headers.items() if not name.startswith(HIDDEN_PREFIX)}

    def call(self, request, execution):
        if not self.takes_nothing:
            return super().call(request, execution)
        return _flask().answer(self.main, request)


class _InstalledFlask:
    def __init__(self, flask):
        self.app = flask.Flask("function")

    def answer(self, main, request):
        from io import BytesIO

        environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": _decoded(request.path),
            "QUERY_STRING": request.query_string,
            "SERVER_NAME": request.host or "localhost",
            "SERVER_PORT": str(request.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body_binary)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.scheme,
            "wsgi.input": BytesIO(request.body_binary),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in request.headers.items():
            if name not in ("content-type", "content-length"):
                environ["HTTP_" + name.upper().replace("-", "_")] = value
        with self.app.request_context(environ):
            try:
                answer = self.app.make_response(self.app.ensure_sync(main)())
            except Exception as error:
                answer = self.app.make_response(self.app.handle_user_exception(error))
            return {"body": answer.get_data(), "statusCode": answer.status_code, "headers": list(answer.headers)}


def _decoded(path):
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path).decode("latin-1")


_chosen = []


def _prepare_flask():
    """Has `import flask` work in the function, with Flask or without."""
    if _chosen:
        return
    try:
        import flask

        _chosen.append(_InstalledFlask(flask))
    except ImportError:
        from . import fission_flask

        sys.modules["flask"] = fission_flask
        _chosen.append(fission_flask)


def _flask():
    return _chosen[0]
