"""The AgentKit SDK's client. A program that was written for it runs unchanged.

    client = AgentKitClient()
    agent_id = await client.register_agent("shouter", ["shout"], "1.0", "http://127.0.0.1:9000/")
    await client.report_state_to_opscore(agent_id, "idle")
    await client.close()
"""

from __future__ import annotations

from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Optional, Sequence

from agentkit import _settings
from agentkit._async.client import AsyncClient
from agentkit._transport import Transport, _complete, loads
from agentkit.errors import AgentKitError, ConfigurationError

__all__ = ["AgentKitClient", "AgentKitError"]


class AgentKitClient:
    """A client of AgentKit, and of Ops-Core for reports.

    `base_url` is AgentKit's address; without it `SIGNALBOX_URL`, else `OPSCORE_API_URL`, else `http://127.0.0.1:8000`.
    Reports go to `OPSCORE_API_URL` with `OPSCORE_API_KEY`. `timeout` is in seconds, for one attempt.
    """

    def __init__(
        self,
        base_url: Optional[str] = None,
        timeout: Optional[float] = None,
        *,
        api_key: Optional[str] = None,
    ) -> None:
        self._client = AsyncClient(base_url, api_key, timeout=timeout)
        self._timeout = timeout
        self._opscore: Optional[tuple[tuple[str, str], AsyncClient]] = None

    async def register_agent(
        self,
        agent_name: str,
        capabilities: Sequence[Any],
        version: str,
        contact_endpoint: str,
        metadata: Optional[dict[str, Any]] = None,
    ) -> str:
        """Registers an agent and answers its id. An agent that was started again gets its id back under its name."""
        return await self._client.agents.register(
            agent_name,
            capabilities,
            version=version,
            contact_endpoint=contact_endpoint,
            metadata=metadata or {},
        )

    async def send_message(
        self,
        target_agent_id: str,
        sender_id: str,
        message_type: str,
        payload: dict[str, Any],
        session_context: Optional[dict[str, Any]] = None,
    ) -> dict[str, Any]:
        """Sends a message to an agent and answers what the server said; of a `tool_invocation` that is the tool's answer."""
        body: dict[str, Any] = {"senderId": sender_id, "messageType": message_type, "payload": payload}
        if session_context is not None:
            body["sessionContext"] = session_context
        transport = self._client._transport
        call = transport.call("POST", ("v1", "agents", target_agent_id, "run"), body=body)
        answer: dict[str, Any] = loads(await _complete(call))
        return answer

    async def report_state_to_opscore(
        self, agent_id: str, state: str, details: Optional[dict[str, Any]] = None
    ) -> None:
        """Reports an agent's state to Ops-Core. A report that names a task in its details settles that task."""
        body: dict[str, Any] = {
            "agentId": agent_id,
            "timestamp": datetime.now(timezone.utc),
            "state": state,
        }
        if details is not None:
            body["details"] = details
        path = ("v1", "opscore", "agent", agent_id, "state")
        loads(await _complete(self._opscore_transport().call("POST", path, body=body)))

    async def close(self) -> None:
        """Ends the use of the client."""
        await self._client.close()

    async def __aenter__(self) -> AgentKitClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    def _opscore_transport(self) -> Transport:
        """Where reports go, by the environment as it is now."""
        url, key = _settings.opscore_url(), _settings.opscore_key()
        if not url:
            raise ConfigurationError("Configuration error: OPSCORE_API_URL not set.")
        if not key:
            raise ConfigurationError("Configuration error: OPSCORE_API_KEY not set.")
        if self._opscore is None or self._opscore[0] != (url, key):
            self._opscore = ((url, key), AsyncClient(url, key, timeout=self._timeout))
        return self._opscore[1]._transport
