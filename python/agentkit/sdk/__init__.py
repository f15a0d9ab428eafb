"""The AgentKit SDK, as its guides describe it: `from agentkit.sdk.client import AgentKitClient, AgentKitError`."""

from __future__ import annotations

from agentkit.errors import AgentKitError
from agentkit.sdk.client import AgentKitClient

__all__ = ["AgentKitClient", "AgentKitError"]
