"""What Treadle gives a function: `def main(context: "treadle.Context") -> "treadle.Response"`, imported under `if TYPE_CHECKING:`."""

from typing import Any, AsyncIterable, AsyncIterator, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, TypedDict, Union

Headers = Mapping[str, Union[str, int, Sequence[str]]]
Source = Union[Iterable[Union[str, bytes]], AsyncIterable[Union[str, bytes]]]

class Response(TypedDict, total=False):
    statusCode: int
    headers: Headers
    body: Union[str, bytes]

class BodyStream:
    """The body as it comes, for `for` and for `async for`."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...

class Request:
    method: str
    scheme: str
    host: str
    port: int
    path: str
    url: str
    query_string: str
    headers: Dict[str, str]
    body_binary: bytes
    @property
    def query(self) -> Dict[str, str]:
        """Undecoded: `a=b&c==d&k` is `{"a": "b", "c": "=d", "k": ""}`."""
    @property
    def body(self) -> Any:
        """An object when the content type is application/json, else text."""
    @property
    def body_text(self) -> str: ...
    @property
    def body_json(self) -> Any:
        """The body as JSON, whatever its content type. Raises ValueError when it is none."""
    @property
    def body_stream(self) -> BodyStream:
        """A function whose file mentions it is called before a body that makes it wait has come whole."""

class Responses:
    """Each makes a response; the one that the function returns is sent."""

    def text(self, body: str, status: int = 200, headers: Optional[Headers] = None) -> Response: ...
    def json(self, value: Any, status: int = 200, headers: Optional[Headers] = None) -> Response: ...
    def binary(self, body: bytes, status: int = 200, headers: Optional[Headers] = None) -> Response: ...
    def redirect(self, url: str, status: int = 301, headers: Optional[Headers] = None) -> Response: ...
    def empty(self) -> Response: ...
    def stream(self, source: Union[Source, Callable[[], Source]], status: int = 200, headers: Optional[Headers] = None) -> Response:
        """The head goes out at once, then each piece as the source gives it, no faster than it is read."""
    def send(self, body: Union[str, bytes], status: int = 200, headers: Optional[Headers] = None) -> Response:
        """Deprecated: text or binary."""

class Logger:
    """Entries with fields of their own, which logs can be searched by."""

    def debug(self, message: Any, fields: Optional[Mapping[str, Any]] = None) -> None: ...
    def info(self, message: Any, fields: Optional[Mapping[str, Any]] = None) -> None: ...
    def warn(self, message: Any, fields: Optional[Mapping[str, Any]] = None) -> None: ...
    def warning(self, message: Any, fields: Optional[Mapping[str, Any]] = None) -> None: ...
    def error(self, message: Any, fields: Optional[Mapping[str, Any]] = None) -> None: ...

class Context:
    req: Request
    res: Responses
    @property
    def logger(self) -> Logger: ...
    def log(self, *values: Any) -> None: ...
    def error(self, *values: Any) -> None: ...
    def save_file(
        self,
        path: Optional[str] = None,
        name: Optional[str] = None,
        type: Optional[str] = None,
        description: Optional[str] = None,
        content: Any = None,
    ) -> Dict[str, Any]: ...
    def open_file(self, id: str) -> Dict[str, Any]: ...

class Flow(TypedDict):
    variables: Dict[str, Any]

class ScriptData(TypedDict, total=False):
    """What a script's `handle` gets. It returns the parts that it changes, `response_code` (0 to 4) and `logs` (a list of str)."""

    payload: Optional[str]
    variables: Dict[str, Any]
    meta: Dict[str, Any]
    flow: Flow
    response: Dict[str, Any]
    response_code: int
    logs: List[str]
