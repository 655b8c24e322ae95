"""The `handler` contract: one file with `main(context)`, or the older `main(req, res)`, plain or async."""

from . import PRISTINE as __builtins__  # noqa: A004

import posix

from . import json_text
from .context import Context, Request
from .entry_file import load_entry
from .execution import current
from .response import HIDDEN_PREFIX, rendered


class HandlerContract:
    """Loads the entry file at once. It is its own only function, whatever the name in a CALL."""

    slow = False
    # The awaits of an async main are looked at per call: see `awaits_nothing`.
    needs_loop = False

    # Its answers may be streams.
    streams = True

    def __init__(self, directory, entrypoint):
        entry = load_entry(directory, entrypoint, "main")
        self.errors, self.imports, self.files = entry.errors, entry.imports, {}
        self.main = entry.function
        self.enforced = _enforced_headers()
        self.awaits_nothing = entry.awaits_nothing
        self.streams_body = entry.streams_body
        self.takes_pair = self.main is not None and positional_count(self.main) >= 2

    def find(self, _name):
        return self

    def functions(self):
        return ()

    def begin(self, body):
        """Runs main on a CALL's payload; the answer is its value, or an awaitable of it."""
        length = int.from_bytes(body[:4], "little")
        head = json_text.parse(body[4 : 4 + length].decode())
        execution = current.get()
        if not head.get("logging", True):
            execution.silent = True
        flow = execution.flow
        if flow is not None and self.streams_body:
            from .incoming import StreamedRequest

            request = StreamedRequest(head["method"], head["url"], self.visible_headers(head["headers"]), flow.incoming)
        else:
            request = Request(head["method"], head["url"], self.visible_headers(head["headers"]), body[4 + length :])
        return self.call(request, execution)

    def visible_headers(self, headers):
        """Headers as user code sees them: lower-case names, without the runtime's own, with the enforced ones."""
        visible = {name.lower(): str(value) for name, value in headers.items() if not name.lower().startswith(HIDDEN_PREFIX)}
        visible.update(self.enforced)
        return visible

    def call(self, request, execution):
        if self.main is None:
            from .failures import FunctionFailure

            raise FunctionFailure(self.errors[""])
        context = Context(request, execution)
        if not self.takes_pair:
            return self.main(context)
        value = self.main(context.req, context.res)
        if hasattr(value, "__await__"):
            return _answered(value, context.res)
        return context.res.last if value is None else value

    def payload(self, value):
        """RESULT payload of a returned value. Raises InvalidResponse."""
        status, headers, body = rendered(value)
        head = json_text.encode({"statusCode": status, "headers": headers})
        return len(head).to_bytes(4, "little") + head + body


def _enforced_headers():
    try:
        given = json_text.parse(posix.environ.get(b"OPEN_RUNTIMES_HEADERS", b"{}").decode().strip())
        return {name.lower(): value if isinstance(value, str) else json_text.encode(value).decode() for name, value in given.items()}
    except (ValueError, StopIteration, AttributeError, RecursionError):
        return {}


async def _answered(awaitable, response):
    value = await awaitable
    return response.last if value is None else value


def positional_count(main):
    code = getattr(main, "__code__", None)
    if code is not None and not hasattr(main, "__wrapped__"):
        return code.co_argcount - len(main.__defaults__ or ()) - (1 if hasattr(main, "__self__") else 0)
    from inspect import Parameter, signature

    try:
        parameters = signature(main).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for one in parameters if one.kind in kinds and one.default is Parameter.empty)
