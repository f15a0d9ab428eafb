"""Write agents for Signalbox.

- `Agent` is the runtime: tasks, messages, commands and channels, over HTTP or a WebSocket.
- `Client` and `AsyncClient` are the whole API.
- `tool` makes a function a tool.
- `agentkit.sdk.client` is the AgentKit SDK.

The ten-line agent:

    from agentkit import Agent

    agent = Agent("shouter")

    @agent.task("shout")
    def shout(text: str) -> dict:
        return {"text": text.upper()}

    # Registers, and works until Ctrl-C.
    agent.run()
"""

from __future__ import annotations

from agentkit import models
from agentkit._logging import OpsCoreHandler
from agentkit._model import Page
from agentkit._native import __version__
from agentkit.agent import Agent
from agentkit.client import AsyncClient, Client
from agentkit.errors import AgentKitError
from agentkit.tools import Tool, tool
from agentkit.work import Call, Cancelled, Context, Failure, current

__all__ = [
    "Agent",
    "AgentKitError",
    "AsyncClient",
    "Call",
    "Cancelled",
    "Client",
    "Context",
    "Failure",
    "OpsCoreHandler",
    "Page",
    "Tool",
    "__version__",
    "current",
    "models",
    "tool",
]
