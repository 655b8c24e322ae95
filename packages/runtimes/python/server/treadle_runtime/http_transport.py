"""HTTP transport (HTTP.md): an Open Runtimes v5 server for one function."""

from . import PRISTINE as __builtins__  # noqa: A004

from time import monotonic, sleep

_started = monotonic()

import os  # noqa: E402
import socket  # noqa: E402
from _contextvars import Context as ContextVariables  # noqa: E402
from _operator import _compare_digest  # noqa: E402
from _thread import allocate_lock, get_ident, start_new_thread  # noqa: E402

from _collections import deque  # noqa: E402

from . import cancel, http_logs, streams  # noqa: E402
from .channel import Turn  # noqa: E402
from .context import Request  # noqa: E402
from .execution import ERROR_LEVEL, Execution, Flow, Limits, current, system  # noqa: E402
from .http_message import BadRequest, Closed, Connection  # noqa: E402
from .news import News  # noqa: E402
from .outgoing import Outgoing, is_async, is_stream, source_of  # noqa: E402
from .response import rendered  # noqa: E402

MAXIMUM_CONNECTIONS = 1024
# Executions whose code holds a thread, also those given up on; more are turned away.
MAXIMUM_EXECUTIONS = 256
MAXIMUM_TIMEOUT_SECONDS = 2_147_483
TEXT = [("content-type", "text/plain; charset=utf-8")]


# Pieces of a response that wait to be written.
WINDOW = 4
# How long executions get to end after SIGTERM.
ENDING_SECONDS = 4


class Server:
    contract = None
    # A generic container of Fission, which is told later what to load.
    fission = False
    directory = None
    secret = b""
    timings: dict = {}
    executions = 0
    connections = 0
    lock = allocate_lock()
    loading = allocate_lock()
    serial = 0


def serve():
    from _signal import SIG_DFL, SIGINT, SIGTERM, signal

    signal(SIGINT, SIG_DFL)
    Turn.broken = True  # nobody speaks frames here
    system.sink = http_logs.Sink(None, None)
    Limits.log_bytes = 4 * 1024 * 1024
    streams.install()
    # The secret is the caller's, not user code's.
    Server.secret = os.environ.pop("OPEN_RUNTIMES_SECRET", "").encode()
    Server.directory = http_logs.folder()
    environment = dict(os.environ)
    Server.fission = environment.get("TREADLE_FISSION") == "1"
    listener = _listener(environment)
    signal(SIGTERM, lambda *_: start_new_thread(_end, (listener,)))
    if Server.fission and environment.get("TREADLE_DEPENDENCIES"):
        from .load import add_dependencies

        add_dependencies(environment["TREADLE_DEPENDENCIES"])
    if environment.get("TREADLE_EGRESS") == "1" and not environment.get("HTTPS_PROXY"):
        from .egress import open_way_out
        from .load import set_environment

        set_environment(open_way_out())
    http_logs.write_out(b"HTTP server successfully started!\n")
    Server.timings["startup"] = monotonic() - _started
    # Held before the first request can come: code is to be loaded on the main thread, where Python lets it set signal handlers.
    Server.loading.acquire()
    start_new_thread(_accept, (listener,))
    try:
        if not Server.fission:
            _load_held(environment)
    finally:
        Server.loading.release()
    while True:
        sleep(3600)


def _accept(listener):
    while True:
        try:
            sock = listener.accept()[0]
        except OSError:
            if listener.fileno() < 0:
                return
            continue
        if Server.connections >= MAXIMUM_CONNECTIONS:
            sock.close()
            continue
        with Server.lock:
            Server.connections += 1
        try:
            start_new_thread(_serve_connection, (sock,))
        except RuntimeError:
            with Server.lock:
                Server.connections -= 1
            sock.close()


def _end(listener):
    """SIGTERM: takes no more, and gives what runs a moment."""
    listener.close()
    deadline = monotonic() + ENDING_SECONDS
    while Server.executions > 0 and monotonic() < deadline:
        sleep(0.02)
    os._exit(0)


def _listener(environment):
    path = environment.get("TREADLE_SOCKET")
    if path:
        listener = socket.socket(socket.AF_UNIX)
        try:
            os.unlink(path)
        except OSError:
            pass
        listener.bind(path)
    else:
        listener = socket.socket(socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((environment.get("TREADLE_LISTEN") or "0.0.0.0", int(environment.get("PORT") or (8888 if Server.fission else 3000))))
    listener.listen(1024)
    return listener


def _load(environment=os.environ):
    """Loads the function, unless it is loaded; what failed is tried again. Others wait meanwhile."""
    with Server.loading:
        if Server.contract is None or Server.contract.errors:
            _load_held(environment)


def _load_held(environment):
    begun = monotonic()
    if environment.get("TREADLE_DEPENDENCIES") and Server.contract is None:
        from .load import add_dependencies

        add_dependencies(environment["TREADLE_DEPENDENCIES"])
    directory = environment.get("TREADLE_CODE") or "/usr/local/server/src/function"
    entrypoint = environment.get("OPEN_RUNTIMES_ENTRYPOINT") or "main.py"
    if environment.get("TREADLE_CONTRACT") == "script":
        from .script import ScriptContract

        Server.contract = ScriptContract(directory, entrypoint)
    else:
        from .handler import HandlerContract

        Server.contract = HandlerContract(directory, entrypoint)
    Server.timings["load"] = monotonic() - begun


def _serve_connection(sock):
    connection = Connection(sock)
    try:
        while True:
            try:
                head = connection.read_head()
                answer = _refusal(head)
                if answer is not None:
                    # The body, if any, is not worth reading.
                    keep_alive = head.keep_alive and head.length == 0
                    connection.respond(*answer, keep_alive, head.method == "HEAD")
                else:
                    keep_alive = _answer(connection, head)
                if not keep_alive:
                    break
            except BadRequest as error:
                connection.respond(error.status, TEXT, str(error).encode(), False)
                break
        connection.linger()
    except Closed:
        pass
    finally:
        sock.close()
        with Server.lock:
            Server.connections -= 1


def _refusal(head):
    """The answer to what needs no body: the server's own paths, a wrong secret, a bad timeout. None: go on."""
    path = head.target.partition("?")[0]
    if path == "/__opr/health":
        return 200, TEXT, b"OK"
    if path == "/__opr/timings":
        return 200, TEXT, _timings()
    if Server.secret and not _compare_digest(head.headers.get("x-open-runtimes-secret", "").encode("latin-1"), Server.secret):
        return 500, TEXT, b'Unauthorized. Provide correct "x-open-runtimes-secret" header.'
    timeout = head.headers.get("x-open-runtimes-timeout", "")
    if timeout and not (timeout.isascii() and timeout.isdigit() and len(timeout) <= 10 and 0 < int(timeout) <= MAXIMUM_TIMEOUT_SECONDS):
        return 500, TEXT, b'Header "x-open-runtimes-timeout" must be an integer greater than 0.'
    if head.headers.get("x-open-runtimes-logging", "") not in ("", "enabled", "disabled"):
        return 500, TEXT, b'Header "x-open-runtimes-logging" must be either "enabled" or "disabled".'
    if path == "/__opr/load" and not Server.fission:
        return _load_outcome()
    return None


def _load_outcome():
    with Server.loading:
        error = Server.contract.errors.get("")
    if error is None:
        return 200, TEXT, b"OK"
    return 503, [*TEXT, ("x-open-runtimes-load", "failed")], _failure(error).encode("utf-8", "replace")


def _timings():
    try:
        with open("/mnt/telemetry/timings.txt", "rb") as file:
            return file.read(65536)
    except OSError:
        return "".join(name + "=" + format(seconds, ".3f") + "\n" for name, seconds in Server.timings.items()).encode()


class Run:
    """One execution: its answer, and a lock that is released when there is one."""

    __slots__ = ("execution", "request", "answer", "done", "pieces")

    def __init__(self, execution, request):
        # Its answer, when that is a stream that has begun.
        self.pieces = None
        self.execution = execution
        self.request = request
        self.answer = None
        self.done = allocate_lock()
        self.done.acquire()

    def settle(self, answer):
        with Server.lock:
            if self.answer is None:
                self.answer = answer
                Server.executions -= 1
                self.done.release()

    def fail(self, error):
        answer = _failed(self.execution, error)
        if self.pieces is None:
            self.settle(answer)
        else:
            self.pieces.end(failed=True)


class Pieces:
    """A streamed answer on its way from the function to the connection's thread."""

    def __init__(self):
        self.waiting = deque()
        self.ended = False
        self.failed = False
        self.news = News()
        self.outgoing = Outgoing(self._put, WINDOW)

    def _put(self, piece):
        self.waiting.append(piece)
        self.news.tell()

    def end(self, failed=False):
        self.failed = failed
        self.ended = True
        self.news.tell()

    def next(self, deadline):
        """The next piece; None at the end. Raises Closed for one that will not come."""
        seconds = -1 if deadline is None else max(deadline - monotonic(), 0)
        if not self.news.wait(lambda: self.waiting or self.ended, seconds):
            raise TimeoutError
        if self.waiting:
            self.outgoing.grant(1)
            return self.waiting.popleft()
        if self.failed:
            raise Closed
        return None


def _answer(connection, head):
    """Answers a request; false when its connection cannot be used for another."""
    if Server.fission:
        return _answer_fission(connection, head)
    if Server.contract is None or Server.contract.errors:
        _load()
    return _answer_function(connection, head, None)


def _answer_fission(connection, head):
    from .fission import Generic

    body = connection.read_body(head)
    answer = Generic.route(head.method, head.target.partition("?")[0], body)
    if answer is None:
        Server.contract = Generic.contract
        return _answer_function(connection, head, body)
    connection.respond(*answer, head.keep_alive, head.method == "HEAD")
    return head.keep_alive


def _answer_function(connection, head, body):
    """`body`: read already, or None."""
    keep_alive = head.keep_alive
    if body is None and Server.contract.streams_body and head.length != 0:
        from .http_body import BodyReader

        body = BodyReader(connection, head).start()
        # What is left of it when the answer is out is in the way of another request.
        keep_alive = keep_alive and body.ended
        if body.ended:
            body = body.whole()
    elif body is None:
        body = connection.read_body(head)
    logging = head.headers.get("x-open-runtimes-logging", "") in ("", "enabled")
    id = http_logs.log_id(head.headers.get("x-open-runtimes-log-id", "")) if logging else ""
    named = ("x-open-runtimes-log-id", id)
    with Server.lock:
        full = Server.executions >= MAXIMUM_EXECUTIONS
        if not full:
            Server.executions += 1
            Server.serial += 1
            execution = Execution(Server.serial)
    if full:
        connection.respond(503, [*TEXT, named], b"", keep_alive)
        return keep_alive
    sink = http_logs.Sink(Server.directory, id)
    execution.sink = sink
    execution.silent = not logging
    headers = Server.contract.visible_headers(head.headers)
    if type(body) is bytes:
        request = Request(head.method, head.target, headers, body)
    else:
        from .incoming import StreamedRequest

        request = StreamedRequest(head.method, head.target, headers, body)
        execution.flow = Flow(body)
    run = Run(execution, request)
    timeout = int(head.headers.get("x-open-runtimes-timeout") or 0)
    deadline = monotonic() + timeout if timeout else None
    begin_thread(_run, (run,))
    try:
        if run.done.acquire(timeout=timeout or -1):
            status, given, content = run.answer
        else:
            status, given, content = 500, TEXT, b""
            execution.log(ERROR_LEVEL, "Execution timed out.")
            _give_up(run)
        if type(content) is Pieces:
            return _send_pieces(connection, head, run, (status, [*given, named], content), keep_alive, deadline)
    finally:
        _end_flow(execution)
        execution.end()
        sink.close()
    connection.respond(status, [*given, named], content, keep_alive, head.method == "HEAD")
    return keep_alive


def _send_pieces(connection, head, run, answer, keep_alive, deadline):
    status, headers, pieces = answer
    execution = run.execution
    try:
        if head.method == "HEAD" or status in (204, 304):
            connection.respond(status, headers, b"", False, True)
            return False
        connection.begin_chunks(status, headers, keep_alive)
        while (piece := pieces.next(deadline)) is not None:
            connection.chunk(piece)
        connection.end_chunks()
        return keep_alive
    except TimeoutError:
        execution.log(ERROR_LEVEL, "Execution timed out.")
        _give_up(run)
        raise Closed from None
    finally:
        pieces.outgoing.stop()


def _end_flow(execution):
    if execution.flow is not None:
        execution.flow.end()


def _give_up(run):
    execution = run.execution
    execution.cancelled = True
    _end_flow(execution)
    if execution.task is not None:
        from .event_loop import Loop

        Loop.loop.call_soon_threadsafe(execution.task.cancel)
        return
    for _ in range(5):
        if not cancel.interrupt(execution) or run.done.acquire(timeout=0.02):
            return


def begin_thread(function, arguments):
    start_new_thread(ContextVariables().run, (function, *arguments))


def _run(run):
    execution = run.execution
    execution.thread = get_ident()
    current.set(execution)
    handed_over = False
    try:
        if Server.contract.errors:
            error = Server.contract.errors[""]
            execution.log(ERROR_LEVEL, _failure(error))
            run.settle((503, TEXT, b""))
            return
        value = Server.contract.call(run.request, execution)
        if is_stream(value) and not is_async(source := source_of(value)):
            _begin_stream(run, value).outgoing.pump(source)
            run.pieces.end()
            return
        if hasattr(value, "__await__") or is_stream(value):
            from . import event_loop

            execution.thread = None
            handed_over = True
            event_loop.submit(execution, _await(run, value))
            return
        run.settle(rendered(value))
    except BaseException as error:
        run.fail(error)
    finally:
        if not handed_over:
            cancel.settle(execution)


async def _await(run, value):
    try:
        if hasattr(value, "__await__"):
            value = await value
        if is_stream(value):
            source = source_of(value)
            await _begin_stream(run, value).outgoing.pump_async(source)
            run.pieces.end()
        else:
            run.settle(rendered(value))
    except BaseException as error:
        run.fail(error)


def _begin_stream(run, value):
    status, headers, _nothing = rendered(value)
    run.pieces = Pieces()
    run.execution.flow = run.execution.flow or Flow()
    run.execution.flow.outgoing = run.pieces.outgoing
    run.settle((status, headers, run.pieces))
    return run.pieces


def _failure(error):
    """What the error log says of code that did not load."""
    if error.get("stack"):
        return error["stack"]
    place = ":" + str(error["line"]) if "line" in error else ""
    return error["message"] + (" (" + error["code"] + place + ")")


def _failed(execution, error):
    if not execution.cancelled:
        from .failures import stack_of

        text = str(error) if type(error).__name__ == "InvalidResponse" else stack_of(error)
        execution.log(ERROR_LEVEL, text)
    return 500, TEXT, b""
