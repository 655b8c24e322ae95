"""The `script` contract: `handle(data)` gets payload, variables, meta and flow, and returns the same shape."""

from . import PRISTINE as __builtins__  # noqa: A004

from . import json_text
from .entry_file import load_entry
from .execution import ERROR_LEVEL, INFO, current

PARTS = ("payload", "variables", "meta", "flow")


class ScriptContract:
    """Loads the entry file at once. It is its own only function, called `handle`."""

    slow = False
    needs_loop = False
    streams = False
    streams_body = False

    def __init__(self, directory, entrypoint):
        entry = load_entry(directory, entrypoint, "handle")
        self.errors, self.imports, self.files = entry.errors, entry.imports, {}
        self.handle = entry.function
        self.awaits_nothing = entry.awaits_nothing

    def find(self, name):
        return self if name == b"handle" else None

    def functions(self):
        return ()

    def begin(self, body):
        """Runs handle on a CALL's payload; the answer is its value, or an awaitable of it."""
        data = json_text.parse(body.decode())["data"]
        return self.run(data, current.get())

    def run(self, data, execution):
        if self.handle is None:
            from .failures import FunctionFailure

            raise FunctionFailure(self.errors[""])
        # What handle does to its argument does not change what was given.
        value = self.handle({**data})
        if hasattr(value, "__await__"):
            return self._finished(data, value, execution)
        return finished(data, value, execution)

    async def _finished(self, data, awaitable, execution):
        return finished(data, await awaitable, execution)

    def payload(self, value):
        return json_text.encode(value)

    # HTTP: what a handler contract has.

    def visible_headers(self, headers):
        return headers

    def call(self, request, execution):
        """A request with data as JSON; the answer is the result, or the error."""
        try:
            data = request.body_json
            if type(data) is not dict:
                raise TypeError("The request body must be a JSON object.")
            value = self.run(data, execution)
        except Exception as error:
            return _refused(error, execution)
        return _awaited(value, execution) if hasattr(value, "__await__") else _answer(200, value)


def finished(given, returned, execution):
    """What handle returned, checked, with what is missing as it was given; its logs become log lines."""
    if returned is None:
        returned = given
    if type(returned) is not dict:
        raise TypeError("handle must return a dict of payload, variables, meta and flow, not " + type(returned).__name__ + ".")
    result = {part: returned.get(part, given.get(part)) for part in PARTS}
    payload = result["payload"]
    if payload is not None and not isinstance(payload, str):
        raise TypeError("The payload that handle returns must be a str or None, not " + type(payload).__name__ + ".")
    code = returned.get("response_code")
    if code is not None:
        if type(code) is not int or not 0 <= code <= 4:
            raise ValueError("response_code must be a whole number from 0 to 4, not " + repr(code)[:100] + ".")
        result["response_code"] = code
    lines = returned.get("logs")
    if isinstance(lines, (list, tuple)):
        result["logs"] = [line if isinstance(line, str) else str(line) for line in lines]
        for line in result["logs"]:
            execution.log(INFO, line)
    return result


async def _awaited(awaitable, execution):
    try:
        return _answer(200, await awaitable)
    except Exception as error:
        return _refused(error, execution)


def _answer(status, value):
    return {"body": json_text.encode(value), "statusCode": status, "headers": {"content-type": "application/json"}}


def _refused(error, execution):
    from .failures import message_of, stack_of

    stack = stack_of(error)
    execution.log(ERROR_LEVEL, stack)
    return _answer(500, {"error": {"name": type(error).__name__, "message": message_of(error), "stack": stack}})
