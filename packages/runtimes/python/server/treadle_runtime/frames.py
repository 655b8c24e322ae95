"""Frames transport: parses what the host sends and answers on the same socket."""

from . import PRISTINE as __builtins__  # noqa: A004

import posix
import sys
from _contextvars import Context
from _thread import get_ident

from . import cancel, channel, failures, json_text, streams
from .channel import BODY, BODY_CREDIT, BODY_END, CALL, CANCEL, CREDIT, ERROR, FILE_ANSWER, HEAD, LOAD, LOADED, PIECE, PING, PONG, READY, RESULT, send
from .execution import Execution, Flow, Limits, current, open_executions
from .news import Waiting
from .scheduler import Scheduler

# PIECE frames that may be sent before the host gives credit.
WINDOW = 4
# What says in the head of a CALL that the body comes in frames of its own.
_FOLLOWS = b'"bodyFollows":true'
_ONE = (1).to_bytes(4, "little")

# Bytes of a frame that has not come whole yet.
_held = bytearray()
_unpack = channel.head.unpack_from


class Server:
    contract = None
    scheduler = None
    # Calls that came before the contract was loaded.
    early: list = []


def serve():
    posix.set_blocking(channel.CHANNEL, True)
    posix.set_inheritable(channel.CHANNEL, False)
    from _signal import SIG_DFL, SIGINT, signal

    signal(SIGINT, SIG_DFL)
    streams.install()
    # With many computing threads each waits its turn for the interpreter; the usual 5 ms would make PONG late.
    sys.setswitchinterval(0.001)
    Server.scheduler = Scheduler(_receive)
    channel.Turn.rouse = Server.scheduler.rouse_if_dormant
    Waiting.step_aside = Server.scheduler.step_aside
    version = ".".join(map(str, sys.version_info[:3]))
    send(READY, 0, b'{"runtime":"python","version":"' + version.encode() + b'"}')
    Server.scheduler.run()


def _receive(data):
    if _held:
        _held.extend(data)
        if len(_held) < 4 or len(_held) < int.from_bytes(_held[:4], "little") + 4:
            return
        data = bytes(_held)
        _held.clear()
    size, at = len(data), 0
    while size - at >= 9:
        length, kind, id = _unpack(data, at)
        end = at + 4 + length
        if end > size:
            break
        try:
            if kind == CALL:
                start = at + 11 + (data[at + 9] | data[at + 10] << 8)
                _call(id, data[at + 11 : start], data[start:end])
            else:
                _other(kind, id, data[at + 9 : end])
        except BaseException as error:
            # Out of memory or of threads: this call fails, the frames after it are read.
            if id in open_executions:
                fail(open_executions[id], error)
        at = end
    if at < size:
        _held.extend(data[at:])


def _call(id, name, body):
    execution = open_executions[id] = Execution(id)
    if _FOLLOWS in body:
        _expect_body(execution, body)
    if Server.contract is None:
        # Sent before LOADED; looked at again, because loading may have ended between the two lines.
        Server.early.append((execution, name, body))
        if Server.contract is not None:
            _begin_early()
        return
    _begin(execution, name, body)


def _begin_early():
    while True:
        try:
            call = Server.early.pop(0)
        except IndexError:
            return
        _begin(*call)


def _begin(execution, name, body):
    function = Server.contract.find(name)
    if function is None:
        name = name.decode("utf-8", "replace")
        error = {"code": "UNKNOWN_FUNCTION", "message": "There is no function " + repr(name) + " here.", "function": name[:200]}
        execution.finish(ERROR, json_text.encode_ascii(error))
    elif function.streams and execution.flow is not None:
        _begin_following(execution, function, body)
    elif function.needs_loop:
        from . import event_loop

        event_loop.submit(execution, _run_on_loop(execution, function, body))
    else:
        Server.scheduler.add(_run, execution, function, body)


def _expect_body(execution, body):
    """Makes ready for BODY frames, if the head of a CALL announces them."""
    length = int.from_bytes(body[:4], "little")
    try:
        follows = json_text.parse(body[4 : 4 + length].decode()).get("bodyFollows") is True
    except Exception:
        return  # Arguments of an inline function that hold the same words.
    if follows:
        from .incoming import IncomingBody

        execution.flow = Flow(IncomingBody(lambda: execution.send(BODY_CREDIT, _ONE)))


def _begin_following(execution, function, body):
    """A call whose body is under way: at once when the handler may ask for the stream, else when the body has come."""
    if function.streams_body:
        Server.scheduler.add(_run, execution, function, body)
    else:
        execution.flow.incoming = GatheredBody(execution.flow.incoming, lambda data: Server.scheduler.add(_run, execution, function, body + data))


class GatheredBody:
    """Takes the rest of a body for a function that wants it whole, and calls `done(data)` then."""

    def __init__(self, incoming, done):
        self.data = bytearray()
        self.taken = incoming.taken
        self.done = done
        for piece in incoming.pieces:
            self.push(piece)
        if incoming.ended:
            self.end()

    def push(self, piece):
        self.data += piece
        self.taken()

    def end(self):
        self.done(bytes(self.data))

    def fail(self, _reason):
        self.data = bytearray()


def _on_body(kind, id, payload):
    """What the host says of a body that is under way."""
    execution = open_executions.get(id)
    flow = execution.flow if execution is not None else None
    if flow is None:
        return
    if kind == CREDIT:
        if flow.outgoing is not None:
            flow.outgoing.grant(int.from_bytes(payload, "little"))
    elif flow.incoming is None:
        return
    elif kind == BODY:
        flow.incoming.push(payload)
    else:
        flow.incoming.end()


def _other(kind, id, payload):
    if kind == PING:
        send(PONG, id, b"")
    elif kind == CANCEL:
        cancel.cancel(id, Server.scheduler)
    elif kind == FILE_ANSWER:
        execution = open_executions.get(id)
        if execution is not None and execution.transfers is not None:
            execution.transfers.answer(payload)
    elif kind in (BODY, BODY_END, CREDIT):
        _on_body(kind, id, payload)
    elif kind == LOAD:
        Server.scheduler.add(_load, id, Loading, payload)


class Loading:
    slow = False
    streams = False


def _load(id, _function, payload):
    from .load import load

    try:
        contract, report = load(json_text.parse(payload.decode()))
    except BaseException as error:
        # Not a fault of one function, which would be in the report: out of memory, say.
        message = "The functions could not be loaded: " + type(error).__name__ + " " + failures.message_of(error)
        send(LOADED, id, json_text.encode_ascii({"errors": {"": {"code": "LOAD_FAILED", "message": message}}, "imports": {}}))
        channel.flush()
        return
    send(LOADED, id, json_text.encode_ascii(report))
    Server.contract = contract
    channel.flush()
    _begin_early()
    if any(function.needs_loop for function in Server.contract.functions()):
        # Imported and started before the first call asks for it.
        from . import event_loop

        event_loop.start()


def _run(execution, function, body):
    """One call from its arguments to its result, on this thread."""
    execution.thread = get_ident()
    try:
        # Cancelled while it waited? Looked at after `thread` is set, so that `cancel` never misses code that runs.
        if not execution.closed:
            # A context of its own: nothing a call sets is seen by the next one on this thread.
            Context().run(_drive, execution, function, body)
    finally:
        if execution.cancelled:
            cancel.settle(execution)


def _drive(execution, function, body):
    current.set(execution)
    try:
        result = function.begin(body)
        if hasattr(result, "__await__"):
            if not function.awaits_nothing:
                from . import event_loop

                execution.thread = None
                event_loop.submit(execution, _finish_on_loop(execution, function, result))
                return
            try:
                # What awaits nothing but its siblings, which await nothing either, goes through in one step.
                result.send(None)
            except StopIteration as stop:
                result = stop.value
            else:
                result.throw(RuntimeError("awaited something that needs the event loop; await it by its own name"))
        if function.streams and type(result) is dict and "stream" in result:
            _stream(execution, result)
            return
    except BaseException as error:
        fail(execution, error)
        return
    succeed(execution, function, result)


def _stream(execution, response):
    """A response in pieces: from this thread, or from the event loop when its source is asynchronous."""
    from . import outgoing

    source = outgoing.source_of(response)
    if outgoing.is_async(source):
        from . import event_loop

        execution.thread = None
        event_loop.submit(execution, _stream_on_loop(execution, response, source))
        return
    _begin_stream(execution, response).pump(source)
    execution.finish(RESULT, b"")


async def _stream_on_loop(execution, response, source):
    try:
        await _begin_stream(execution, response).pump_async(source)
    except BaseException as error:
        fail(execution, error)
        return
    execution.finish(RESULT, b"")


def _begin_stream(execution, response):
    """Sends the HEAD; the answer takes the pieces."""
    from .outgoing import Outgoing
    from .response import rendered

    status, headers, _nothing = rendered(response)
    out = Outgoing(lambda piece: execution.send(PIECE, piece), WINDOW)
    if execution.flow is None:
        execution.flow = Flow()
    execution.flow.outgoing = out
    if not execution.send(HEAD, json_text.encode({"statusCode": status, "headers": headers})):
        out.stop()
    return out


async def _run_on_loop(execution, function, body):
    try:
        result = await function.begin(body)
    except BaseException as error:
        fail(execution, error)
        return
    succeed(execution, function, result)


async def _finish_on_loop(execution, function, awaitable):
    try:
        result = await awaitable
        if function.streams and type(result) is dict and "stream" in result:
            from .outgoing import source_of

            await _stream_on_loop(execution, result, source_of(result))
            return
    except BaseException as error:
        fail(execution, error)
        return
    succeed(execution, function, result)


def succeed(execution, function, result):
    try:
        payload = function.payload(result)
    except BaseException as error:
        _refuse_result(execution, result, error)
        return
    if len(payload) > Limits.result_bytes:
        message = "The result is " + str(len(payload)) + " bytes long; " + str(Limits.result_bytes) + " are allowed."
        execution.finish(ERROR, json_text.encode_ascii({"code": "RESULT_TOO_LARGE", "message": message}))
        return
    execution.finish(RESULT, payload)


def _refuse_result(execution, result, error):
    if execution.closed:
        return
    if isinstance(error, MemoryError):
        answer = {"code": "OUT_OF_MEMORY", "message": "There is not enough memory to write the result."}
    elif type(error).__name__ == "InvalidResponse":
        answer = {"code": "THREW", "message": str(error), "name": "InvalidResponse"}
    else:
        answer = {"code": "RESULT_NOT_SERIALIZABLE", "message": json_text.explain(result, error)}
    execution.finish(ERROR, json_text.encode_ascii(answer))


def fail(execution, error):
    if execution.closed:
        return
    try:
        failures.show_sources()
        answer = json_text.encode_ascii(failures.thrown(error, Server.contract.files))
    except BaseException:
        # Out of memory or of stack while describing it: the shortest description there is.
        code = b"OUT_OF_MEMORY" if isinstance(error, MemoryError) else b"THREW"
        answer = b'{"code":"' + code + b'","message":"' + type(error).__name__.encode("ascii", "replace") + b'"}'
    execution.finish(ERROR, answer)
