"""What a handler gets and how it ends: `Call`, `Context`, `Failure`, `Cancelled`."""

from __future__ import annotations

import contextvars
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Mapping, Optional, Protocol

from agentkit._model import parse_time
from agentkit._transport import dumps


class Failure(Exception):
    """Ends a handler: the task has failed, the command is answered with an error.

    `code` is one word for the kind of failure; a workflow's `retryOn` looks at it. `details` is anything else about it.
    """

    def __init__(self, message: str, *, code: Optional[str] = None, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details


class Cancelled(Exception):
    """The work is no longer wanted; raised by `Context.check`."""


@dataclass(frozen=True)
class Call:
    """A piece of work as it came."""

    kind: str
    """`task`, `message`, `command`, `publication` (of a channel) or `request` (of another agent, which waits)."""
    name: str
    """The task's name, the message's type, the command, or the subject."""
    payload: Any
    """The task's parameters, the command's arguments, or what was sent."""
    id: Optional[str] = None
    """The id by which a repeat of it is known."""
    task_id: Optional[str] = None
    """The task's id with its attempt."""
    session_id: Optional[str] = None
    """The session that it belongs to."""
    attempt: int = 1
    """Which try this is, from 1."""
    deadline: Optional[datetime] = None
    """When it has failed where nothing was reported by then."""
    traceparent: Optional[str] = None
    """The trace that it belongs to, as the W3C header has it."""
    sender: Optional[str] = None
    """Who sent it; `opscore` for a workflow's task."""
    sequence: Optional[int] = None
    """Its place in its channel."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """The rest of what came, such as `sessionContext`."""

    @classmethod
    def read(cls, text: bytes) -> Call:
        """Reads it as the native part tells it."""
        told = json.loads(text)
        if told["deadline"] is not None:
            told["deadline"] = parse_time(told["deadline"])
        return cls(**told)


class Work(Protocol):
    """What the runtime has of a piece of work."""

    @property
    def cancelled(self) -> bool: ...
    def progress(self, percent: float, note: Optional[str] = None) -> None: ...
    def log(self, level: str, message: str, fields: Optional[bytes] = None) -> None: ...


class Context:
    """What a handler can tell while it works, and be told. `current()` finds it from anywhere below the handler."""

    def __init__(self, work: Work, call: Call) -> None:
        self._work = work
        self.call = call
        """The work as it came."""

    def progress(self, percent: float, note: Optional[str] = None) -> None:
        """Tells how far the task is, in percent. Of several in short succession only the last may be told."""
        self._work.progress(percent, note)

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Writes a line to the central log, with the task, the session and the trace. The standard library's `logging` goes
        there too while a handler runs."""
        self._work.log(level, message, dumps(fields) if fields else None)

    @property
    def cancelled(self) -> bool:
        """Whether the work is no longer wanted. An async handler is cancelled by itself; a plain function looks here."""
        return self._work.cancelled

    def check(self) -> None:
        """Raises `Cancelled` where the work is no longer wanted."""
        if self.cancelled:
            raise Cancelled(f"the {self.call.kind} '{self.call.name}' is no longer wanted")


_current: contextvars.ContextVar[Optional[Context]] = contextvars.ContextVar("agentkit_context", default=None)


def current() -> Optional[Context]:
    """The context of the handler that this code runs in; `None` outside of one."""
    return _current.get()
