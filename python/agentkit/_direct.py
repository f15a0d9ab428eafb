"""A handler run directly, without a server: what `Agent.call` stands on."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Optional

from agentkit._handlers import Handlers
from agentkit._transport import dumps
from agentkit.errors import ConfigurationError
from agentkit.work import Call, Context, Failure, _current


class NoWork:
    """Work of no server: what is told of it goes nowhere."""

    cancelled = False

    def progress(self, percent: float, note: Optional[str] = None) -> None:
        """Goes nowhere."""

    def log(self, level: str, message: str, fields: Optional[bytes] = None) -> None:
        """Goes nowhere."""


def no_handler(handlers: Handlers, call: Call) -> Failure:
    """Why nothing handles a piece of work, and what there is."""
    names = sorted(handlers.names(call.kind))
    has = ", ".join(f"'{name}'" for name in names) or "none"
    how = f"; add a handler '{call.name}' or '*' to the agent"
    if call.kind == "task" and names:
        others = " (or another of these)" if len(names) > 1 else ""
        how = (
            "; a task goes to the handler of its `name`, else of its `taskId`, whatever capability it asked for: add "
            f"`name: {names[0]}`{others} to the task in the workflow, or a handler '{call.name}' or '*' to the agent"
        )
    return Failure(f"no handler for the {call.kind} '{call.name}'; this agent has: {has}{how}", code="no-handler")


async def run(handlers: Handlers, call: Call) -> Any:
    """Runs the handler of a call in this thread, and answers what the server would get."""
    handler = handlers.of(call)
    if handler is None:
        raise no_handler(handlers, call)
    context = Context(NoWork(), call)
    token = _current.set(context)
    try:
        positional, named = handler.arguments(call, context)
        result = handler.function(*positional, **named)
        if handler.is_async:
            result = await result
    finally:
        _current.reset(token)
    return json.loads(dumps(result))


def run_to_its_end(handlers: Handlers, call: Call) -> Any:
    """The same, where nobody awaits it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run(handlers, call))
    raise ConfigurationError("an event loop runs in this thread; write `await agent.call_async(…)` in it")
