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
import threading
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
ARRIVAL_TIMEOUT = 30.0
"""Seconds in which a call must have arrived."""


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
        if not self._room.acquire(blocking=False):
            return 503, {"detail": f"{CALLS_MAX} calls are under way; come again later"}
        try:
            return 200, found.invoke(arguments)
        except Failure as failure:
            return 200, {"status": "error", "error_message": failure.message}
        except Exception as error:
            _log.exception("the tool '%s' failed", found.name)
            return 200, {"status": "error", "error_message": f"{type(error).__name__}: {error}"}
        finally:
            self._room.release()

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
                status, answer = server.answer(self.path, self.rfile.read(int(length)))
                try:
                    text = dumps(answer)
                except (TypeError, ValueError) as error:
                    text = dumps({"status": "error", "error_message": f"the tool's answer is no JSON: {error}"})
                self._say(status, text)

            def _say(self, status: int, text: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                _log.debug(format, *args)

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _summary(function: Callable[..., Any]) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
