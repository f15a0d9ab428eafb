"""One request: how it is put together for the native client, and how its answer is read.

The native client does the network's work in its own threads: connections, deadlines, retries with jitter that honour
`Retry-After`, and idempotency keys for what is sent again.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Mapping, Optional, Sequence, Union

from agentkit import _native, errors
from agentkit._types import plain

Query = Mapping[str, Union[str, int, float, bool, datetime, None]]


@dataclass(frozen=True)
class Options:
    """How calls are made."""

    timeout: Optional[float] = None
    """Seconds for one attempt; the client's own where it is `None`."""
    idempotency_key: Optional[str] = None
    """The same key with the same body is one call to the server, for 24 hours."""


class Transport:
    """A native client, and the options of the calls through it."""

    def __init__(self, native: _native.Client, options: Options = Options()) -> None:
        self.native = native
        self.options = options
        self._process = os.getpid()

    def with_options(self, **changes: Any) -> Transport:
        """The same connections with other options."""
        return Transport(self.native, replace(self.options, **changes))

    def call(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Optional[Query] = None,
        body: Any = None,
        text: Optional[tuple[str, str]] = None,
        idempotency_key: Optional[str] = None,
    ) -> _native.Call:
        """A request that is ready to go; `text` is a body of another kind than JSON, with its content type."""
        self.check_process()
        content_type, content = None, None
        if text is not None:
            content_type, content = text[0], text[1].encode()
        elif body is not None:
            content_type, content = "application/json", dumps(body)
        return self.native.request(
            method,
            list(path),
            _pairs(query or {}),
            body=content,
            content_type=content_type,
            idempotency_key=idempotency_key or self.options.idempotency_key,
            timeout=self.options.timeout,
        )

    def check_process(self) -> None:
        """A forked process has none of the threads of its parent."""
        if os.getpid() != self._process:
            raise errors.ConfigurationError(
                "this client was made before the process forked, and its connections belong to the parent; "
                "make one in each process"
            )


def dumps(value: Any) -> bytes:
    """JSON of a body, with times in the server's form."""
    return json.dumps(value, default=plain, separators=(",", ":"), allow_nan=False).encode()


def loads(answer: _native.Answer) -> Any:
    """The JSON of an answer; an error answer is raised."""
    raise_for(answer)
    if not answer.body:
        return None
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise errors.UnreadableAnswer(f"the answer is no JSON: {error}", answer.status) from error


def raise_for(answer: _native.Answer) -> None:
    """Raises what went wrong, if anything did."""
    fault = answer.error
    if fault is None:
        return
    if fault.status is None:
        raise errors.of_kind(fault.kind)(fault.message)
    try:
        data = json.loads(answer.body) if answer.body else None
    except ValueError:
        data = None
    raise errors.of_status(fault.status)(
        fault.message,
        fault.status,
        data,
        request_id=fault.request_id,
        retry_after=fault.retry_after,
    )


def _wait(call: _native.Call) -> _native.Answer:
    """Makes a call and waits for its answer, without the interpreter's lock."""
    return call.wait()


async def _complete(call: _native.Call) -> _native.Answer:
    """Makes a call and lets the event loop go on meanwhile; cancelling the task cancels the call."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_native.Answer] = loop.create_future()
    token = _completions().begin(loop, future)
    call.submit(_completions().native, token)
    try:
        return await future
    finally:
        if not future.done() or future.cancelled():
            call.cancel()
            _completions().forget(token)


class Completions:
    """Hands the answers of native calls to the event loops that wait for them, from one thread of the process."""

    def __init__(self) -> None:
        self.native = _native.Completions()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Future[_native.Answer]]] = {}
        self._last = 0
        threading.Thread(target=self._run, name="agentkit-completions", daemon=True).start()

    def is_ours(self) -> bool:
        """Whether the thread runs in this process: a fork leaves it behind."""
        return os.getpid() == self._process

    def begin(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[_native.Answer]) -> int:
        """A token for one call."""
        with self._lock:
            self._last += 1
            self._waiting[self._last] = (loop, future)
            return self._last

    def forget(self, token: int) -> None:
        """Nobody waits for this call any longer."""
        with self._lock:
            self._waiting.pop(token, None)

    def _run(self) -> None:
        while True:
            for token, answer in self.native.next():
                with self._lock:
                    waiting = self._waiting.pop(token, None)
                if waiting is None:
                    continue
                loop, future = waiting
                try:
                    loop.call_soon_threadsafe(_settle, future, answer)
                except RuntimeError:
                    pass  # The loop is closed, and with it whoever waited.


def _settle(future: asyncio.Future[_native.Answer], answer: _native.Answer) -> None:
    if not future.done():
        future.set_result(answer)


_shared: Optional[Completions] = None
_shared_lock = threading.Lock()


def _completions() -> Completions:
    global _shared
    with _shared_lock:
        if _shared is None or not _shared.is_ours():
            _shared = Completions()
        return _shared


def _pairs(query: Query) -> list[tuple[str, str]]:
    return [(name, _word(value)) for name, value in query.items() if value is not None]


def _word(value: Union[str, int, float, bool, datetime]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(plain(value)) if isinstance(value, datetime) else str(value)
