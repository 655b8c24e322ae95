"""Program of the runtime server: `python3 start.py frames|http`. Kept tiny, because a script is compiled on every start."""

import sys

if __name__ == "__main__":
    folder = __file__[: __file__.rindex("/")]
    sys.path.insert(0, folder)
    if sys.argv[1:] == ["http"]:
        from treadle_runtime import http_transport as transport
    else:
        from treadle_runtime import frames as transport
    sys.path.remove(folder)
    del sys.argv[1:]
    transport.serve()
