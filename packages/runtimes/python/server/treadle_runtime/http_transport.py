"""HTTP transport: an Open Runtimes v5 server for one handler function."""

from . import PRISTINE as __builtins__  # noqa: A004

from time import monotonic

_started = monotonic()

import os  # noqa: E402
import socket  # noqa: E402
from _contextvars import Context as ContextVariables  # noqa: E402
from _operator import _compare_digest  # noqa: E402
from _thread import allocate_lock, get_ident, start_new_thread  # noqa: E402

from . import cancel, http_logs, streams  # noqa: E402
from .channel import Turn  # noqa: E402
from .context import Request  # noqa: E402
from .execution import ERROR_LEVEL, Execution, Limits, current, system  # noqa: E402
from .http_message import BadRequest, Closed, Connection  # noqa: E402
from .response import rendered  # noqa: E402

MAXIMUM_CONNECTIONS = 1024
# Executions whose code holds a thread, also those given up on; more are turned away.
MAXIMUM_EXECUTIONS = 256
MAXIMUM_TIMEOUT_SECONDS = 2**31
TEXT = [("content-type", "text/plain; charset=utf-8")]


class Server:
    contract = None
    directory = None
    secret = b""
    timings: dict = {}
    executions = 0
    connections = 0
    lock = allocate_lock()
    serial = 0


def serve():
    from _signal import SIG_DFL, SIGINT, signal

    signal(SIGINT, SIG_DFL)
    Turn.broken = True  # nobody speaks frames here
    system.sink = http_logs.Sink(None, "server")
    Limits.log_bytes = 4 * 1024 * 1024
    streams.install()
    environment = os.environ
    Server.secret = environment.get("OPEN_RUNTIMES_SECRET", "").encode()
    Server.directory = http_logs.folder()
    listener = _listener(environment)
    _load(environment)
    http_logs.write_out(b"HTTP server successfully started!\n")
    Server.timings["startup"] = monotonic() - _started
    while True:
        try:
            sock = listener.accept()[0]
        except OSError:
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
        listener.bind((environment.get("TREADLE_LISTEN") or "0.0.0.0", int(environment.get("PORT") or 3000)))
    listener.listen(1024)
    return listener


def _load(environment):
    from .handler import HandlerContract
    from .load import add_dependencies

    begun = monotonic()
    if environment.get("TREADLE_DEPENDENCIES"):
        add_dependencies(environment["TREADLE_DEPENDENCIES"])
    directory = environment.get("TREADLE_SOURCE") or "/usr/local/server/src/function"
    Server.contract = HandlerContract(directory, environment.get("OPEN_RUNTIMES_ENTRYPOINT") or "main.py")
    Server.timings["load"] = monotonic() - begun


def _serve_connection(sock):
    connection = Connection(sock)
    try:
        while True:
            try:
                head = connection.read_head()
                keep_alive = head.keep_alive
                answer = _refusal(head)
                if answer is not None:
                    # The body, if any, is not worth reading.
                    keep_alive = keep_alive and head.length == 0
                else:
                    answer = _answer(head, connection.read_body(head))
                connection.respond(*answer, keep_alive, head.method == "HEAD")
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
    if timeout and not (timeout.isascii() and timeout.isdigit() and len(timeout) <= 10 and 0 < int(timeout) < MAXIMUM_TIMEOUT_SECONDS):
        return 500, TEXT, b'Header "x-open-runtimes-timeout" must be an integer greater than 0.'
    return None


def _timings():
    try:
        with open("/mnt/telemetry/timings.txt", "rb") as file:
            return file.read(65536)
    except OSError:
        return "".join(name + "=" + format(seconds, ".3f") + "\n" for name, seconds in Server.timings.items()).encode()


class Run:
    """One execution: its answer, and a lock that is released when there is one."""

    __slots__ = ("execution", "request", "answer", "done")

    def __init__(self, execution, request):
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


def _answer(head, body):
    logging = head.headers.get("x-open-runtimes-logging", "") in ("", "enabled")
    id = http_logs.log_id(head.headers.get("x-open-runtimes-log-id", "")) if logging else ""
    named = ("x-open-runtimes-log-id", id)
    with Server.lock:
        if Server.executions >= MAXIMUM_EXECUTIONS:
            return 503, [*TEXT, named], b""
        Server.executions += 1
        Server.serial += 1
        execution = Execution(Server.serial)
    sink = http_logs.Sink(Server.directory, id)
    execution.sink = sink
    execution.silent = not logging
    headers = Server.contract.visible_headers(head.headers)
    run = Run(execution, Request(head.method, head.target, headers, body))
    timeout = int(head.headers.get("x-open-runtimes-timeout") or 0)
    begin_thread(_run, (run,))
    if run.done.acquire(timeout=timeout or -1):
        status, given, content = run.answer
    else:
        status, given, content = 500, TEXT, b""
        execution.log(ERROR_LEVEL, "Execution timed out.")
        _give_up(run)
    execution.end()
    sink.close()
    return status, [*given, named], content


def _give_up(run):
    execution = run.execution
    execution.cancelled = True
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
        if Server.contract.main is None:
            error = Server.contract.errors[""]
            execution.log(ERROR_LEVEL, error.get("stack") or _described(error))
            run.settle((503, TEXT, b""))
            return
        value = Server.contract.call(run.request, execution)
        if hasattr(value, "__await__"):
            from . import event_loop

            execution.thread = None
            handed_over = True
            event_loop.submit(execution, _await(run, value))
            return
        run.settle(rendered(value))
    except BaseException as error:
        run.settle(_failed(execution, error))
    finally:
        if not handed_over:
            cancel.settle(execution)


async def _await(run, awaitable):
    try:
        run.settle(rendered(await awaitable))
    except BaseException as error:
        run.settle(_failed(run.execution, error))


def _described(error):
    place = ":" + str(error["line"]) if "line" in error else ""
    return error["message"] + (" (" + error["code"] + place + ")")


def _failed(execution, error):
    if not execution.cancelled:
        from .failures import stack_of

        text = str(error) if type(error).__name__ == "InvalidResponse" else stack_of(error)
        execution.log(ERROR_LEVEL, text)
    return 500, TEXT, b""
