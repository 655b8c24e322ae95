"""The way out: a TCP listener on the sandbox's loopback in front of the host's proxy socket, and the variables that lead
HTTP clients to it. The host's proxy decides what may be reached; nothing here does."""

from . import PRISTINE as __builtins__  # noqa: A004

import posix
from _socket import AF_INET, AF_UNIX, SHUT_WR, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket
from _thread import allocate_lock, start_new_thread

PROXY_SOCKET = "/run/treadle/egress.sock"
MAXIMUM_CONNECTIONS = 256


def open_way_out():
    """Starts listening; returns the environment variables that tell HTTP clients."""
    listener = socket(AF_INET, SOCK_STREAM)
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    start_new_thread(_accept, (listener, posix.environ.get(b"TREADLE_EGRESS_SOCKET", PROXY_SOCKET.encode()).decode()))
    address = "http://127.0.0.1:" + str(listener.getsockname()[1])
    variables = {"NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1"}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        variables[name] = address
    return variables


def _accept(listener, path):
    while True:
        try:
            inside = socket(fileno=listener._accept()[0])
        except OSError:
            continue
        if _Pipe.open_count >= MAXIMUM_CONNECTIONS:
            inside.close()
            continue
        outside = socket(AF_UNIX, SOCK_STREAM)
        try:
            outside.connect(path)
            pipe = _Pipe(inside, outside)
            start_new_thread(pipe.pump, (inside, outside))
            start_new_thread(pipe.pump, (outside, inside))
        except (OSError, RuntimeError):
            inside.close()
            outside.close()


class _Pipe:
    """Two sockets and the two threads that carry bytes between them."""

    open_count = 0

    def __init__(self, inside, outside):
        self.sockets = (inside, outside)
        self.running = 2
        self.lock = allocate_lock()
        _Pipe.open_count += 1

    def pump(self, source, target):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                target.sendall(data)
            target.shutdown(SHUT_WR)
        except OSError:
            for one in self.sockets:
                try:
                    one.shutdown(2)
                except OSError:
                    pass
        with self.lock:
            self.running -= 1
            last = self.running == 0
        if last:
            _Pipe.open_count -= 1
            for one in self.sockets:
                one.close()
