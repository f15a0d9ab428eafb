"""Tools: a type-annotated function becomes an HTTP endpoint with a JSON Schema, which agents call through the server.

    @tool
    def add(a: float, b: float) -> float:
        "Adds two numbers."
        return a + b

`agent.tool` serves it beside the agent and registers it; `add.parameters` is the schema, and `add(1, 2)` still is 3.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Callable, Generic, Mapping, Optional, TypeVar, Union, overload

from agentkit._transport import dumps
from agentkit._types import hints_of, parameters_of, value_of
from agentkit.work import Failure

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")
else:
    P = TypeVar("P")

R = TypeVar("R")

_log = logging.getLogger("agentkit.tools")

BODY_MAX = 4 << 20
"""The largest call of a tool, in bytes."""
CALLS_MAX = 64
"""Calls that are served at once; the next one is answered 503."""
CONNECTIONS_MAX = 2 * CALLS_MAX
"""Connections that are served at once, each by a thread; further ones wait to be accepted. Where half of them are open, each
is closed after its answer, so that idle ones do not keep out others."""
ARRIVAL_TIMEOUT = 30.0
"""Seconds in which a call must have arrived."""
DROPPING_MAX = 2.0
"""Seconds in which the rest of a call that is refused is read, and dropped."""
PIECE = 65_536
"""Bytes that are read at once."""
CLOSING_EVERY = 0.2
"""Seconds after which a server without room for another connection looks whether it is closed."""


class Tool(Generic[P, R]):
    """A function with what the server has to know of it."""

    def __init__(
        self, function: Callable[P, R], name: Optional[str] = None, description: Optional[str] = None
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__
        """Its name, unique in the tenant."""
        self.description = description or _summary(function) or self.name
        """What it does: the beginning of the docstring."""
        self.parameters = parameters_of(function)
        """The JSON Schema of its arguments."""
        self._hints = hints_of(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def invoke(self, arguments: Mapping[str, Any]) -> Any:
        """Calls the function with arguments from JSON."""
        values = {name: value_of(self._hints.get(name, Any), value) for name, value in arguments.items()}
        result: Any = self.function(**values)  # type: ignore[call-arg]
        return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


@overload
def tool(function: Callable[P, R]) -> Tool[P, R]: ...
@overload
def tool(
    *, name: Optional[str] = None, description: Optional[str] = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Optional[Callable[P, R]] = None,
    *,
    name: Optional[str] = None,
    description: Optional[str] = None,
) -> Union[Tool[P, R], Callable[[Callable[P, R]], Tool[P, R]]]:
    """Makes a function a tool: `@tool`, or `@tool(name="add")`. The schema of its arguments comes from the annotations, what
    each is for from `Annotated[int, "…"]` or the section `Args:` of the docstring."""
    if function is not None:
        return Tool(function, name, description)
    return lambda function: Tool(function, name, description)


class ToolServer:
    """Serves tools over HTTP, each at its name, until it is closed."""

    def __init__(self, tools: Mapping[str, Tool[Any, Any]], host: str = "127.0.0.1", port: int = 0) -> None:
        self._tools = tools
        self._room = threading.BoundedSemaphore(CALLS_MAX)
        self._server = _Server((host, port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="agentkit-tools", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Serves no more."""
        self._server.is_closing = True
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Status and body of the answer to one call. A tool that fails has still answered: with status 200."""
        found = self._tools.get(path.strip("/").rsplit("/", 1)[-1])
        if found is None:
            return 404, {"detail": f"there is no tool at {path}; there are {sorted(self._tools)}"}
        try:
            call = json.loads(body)
            arguments = call["arguments"]
        except (ValueError, KeyError, TypeError):
            return 400, {"detail": 'the body is no {"arguments": {…}}'}
        try:
            return 200, found.invoke(arguments)
        except Failure as failure:
            return 200, {"status": "error", "error_message": failure.message}
        except Exception as error:
            _log.exception("the tool '%s' failed", found.name)
            return 200, {"status": "error", "error_message": f"{type(error).__name__}: {error}"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = ARRIVAL_TIMEOUT

            def do_POST(self) -> None:
                length = self.headers.get("content-length", "")
                if not length.isdigit() or int(length) > BODY_MAX:
                    self.close_connection = True
                    self._say(413, dumps({"detail": f"send at most {BODY_MAX} bytes, with their number"}))
                    return
                # Before the call is read: what waits for room would fill the memory.
                if not server._room.acquire(blocking=False):
                    self.close_connection = True
                    self._say(503, dumps({"detail": f"{CALLS_MAX} calls are under way; come again later"}))
                    self._drop_the_rest()
                    return
                try:
                    status, answer = server.answer(self.path, self._body(int(length)))
                    try:
                        text = dumps(answer)
                    except (TypeError, ValueError) as error:
                        text = dumps({"status": "error", "error_message": f"the tool's answer is no JSON: {error}"})
                finally:
                    server._room.release()
                self.close_connection = self.close_connection or server._server.is_crowded
                self._say(status, text)

            def _body(self, length: int) -> bytes:
                """Reads a call, all of it within its time: one that comes byte by byte does not keep its place."""
                end = time.monotonic() + ARRIVAL_TIMEOUT
                body = bytearray()
                while len(body) < length:
                    left = end - time.monotonic()
                    if left <= 0:
                        raise socket.timeout(f"the call did not arrive within {ARRIVAL_TIMEOUT:g} s")
                    self.connection.settimeout(left)
                    piece = self.rfile.read1(min(PIECE, length - len(body)))
                    if not piece:
                        raise ConnectionResetError("the caller went away in the middle of its call")
                    body += piece
                self.connection.settimeout(ARRIVAL_TIMEOUT)
                return bytes(body)

            def _drop_the_rest(self) -> None:
                """Reads what still comes, for a moment: a connection that is closed before that may take the answer with it."""
                end = time.monotonic() + DROPPING_MAX
                try:
                    self.connection.shutdown(socket.SHUT_WR)
                    while (left := end - time.monotonic()) > 0:
                        self.connection.settimeout(left)
                        if not self.rfile.read1(PIECE):
                            return
                except OSError:
                    return  # It came to its end without us.

            def _say(self, status: int, text: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                if self.close_connection:
                    self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                _log.debug(format, *args)

        return Handler


class _Server(ThreadingHTTPServer):
    """A thread for each connection, and so many of them."""

    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX
    is_closing = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._most = CONNECTIONS_MAX
        self._room = threading.BoundedSemaphore(self._most)
        self._open = 0
        self._lock = threading.Lock()
        super().__init__(address, handler)

    @property
    def is_crowded(self) -> bool:
        """Whether connections should make room for others."""
        return 2 * self._open > self._most

    def process_request(self, request: Any, client_address: Any) -> None:
        # Accepting waits: connections beyond the bound stay in the system's queue and take no thread.
        while not self._room.acquire(timeout=CLOSING_EVERY):
            if self.is_closing:
                self.shutdown_request(request)
                return
        self._count(1)
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._leave()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave()

    def handle_error(self, request: Any, client_address: Any) -> None:
        level = logging.DEBUG if isinstance(sys.exc_info()[1], OSError) else logging.ERROR
        _log.log(level, "a call from %s was not served", client_address, exc_info=True)

    def _leave(self) -> None:
        self._count(-1)
        self._room.release()

    def _count(self, change: int) -> None:
        with self._lock:
            self._open += change


def _summary(function: Callable[..., Any]) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
