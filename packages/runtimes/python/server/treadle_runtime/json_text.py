"""JSON by the C functions under the json package, which itself imports re, enum and functools (8 ms)."""

from . import PRISTINE as __builtins__  # noqa: A004

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner


class _Rules:
    """What `make_scanner` asks of a decoder object."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict = {}

    @staticmethod
    def parse_constant(name):
        raise ValueError(name + " is not JSON")


def _refuse(value):
    name = type(value).__name__
    raise TypeError("a value of type " + name + " has no JSON form" + ("; is an await missing?" if name == "coroutine" else ""))


_scan = make_scanner(_Rules)
# Without a table of containers being written a cycle ends in RecursionError, which `explain` tells apart afterwards.
_encode = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, False)
_encode_ascii = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)


def parse(text):
    """Value of a JSON text without white space around it."""
    return _scan(text, 0)[0]


def encode(value, join="".join):
    """Compact JSON as UTF-8 bytes; lone surrogates are escaped. Raises TypeError, ValueError or RecursionError."""
    try:
        return join(_encode(value, 0)).encode()
    except UnicodeEncodeError:
        return join(_encode_ascii(value, 0)).encode()


def encode_ascii(value):
    """Like `encode`, with everything outside ASCII escaped: cannot fail for strings."""
    return "".join(_encode_ascii(value, 0)).encode()


def explain(value, error):
    """Why `encode(value)` failed, for people."""
    if isinstance(error, RecursionError):
        try:
            make_encoder({}, _refuse, encode_basestring, None, ":", ",", False, False, False)(value, 0)
        except ValueError:
            return "The result contains itself."
        except RecursionError:
            pass
        return "The result is nested too deeply."
    text = str(error)
    if text.startswith("keys must be"):
        return "The result has a key that is not a string: " + text + "."
    if text.startswith("Out of range float"):
        return "The result holds a number that JSON does not have (NaN or infinity)."
    return "The result cannot be written as JSON: " + text + "."
