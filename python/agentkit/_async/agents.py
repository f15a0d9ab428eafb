"""Agents: register, find, look, drain, remove, message, and their state and log."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, AsyncIterator, Optional, Sequence, Union

from agentkit._async.base import OPSCORE, AsyncGroup, Json, data_of, each, given
from agentkit._model import Page
from agentkit.models import (
    AgentView,
    CapabilityBody,
    HistoryEntry,
    LogEntry,
    MessageView,
    StateView,
    ToolAnswer,
)


class AsyncAgents(AsyncGroup):
    """Programs that are registered."""

    async def register(
        self,
        name: str,
        capabilities: Sequence[CapabilityBody] = (),
        *,
        version: str = "1",
        contact_endpoint: Optional[str] = None,
        metadata: Optional[Json] = None,
        replace: bool = True,
    ) -> str:
        """Registers an agent and answers its id. A taken name is taken over, as a restarted agent does; with
        `replace=False` that is a `Conflict`."""
        body = given(
            agentName=name,
            version=version,
            capabilities=list(capabilities),
            contactEndpoint=contact_endpoint,
            metadata=metadata,
        )
        query = {"replace": True} if replace else None
        answer = await self._call("POST", "v1", "agents", "register", query=query, body=body)
        return str(data_of(answer)["agentId"])

    async def create(
        self,
        agent_id: str,
        name: Optional[str] = None,
        capabilities: Sequence[CapabilityBody] = (),
        *,
        version: str = "1",
        contact_endpoint: Optional[str] = None,
        metadata: Optional[Json] = None,
        replace: bool = False,
    ) -> str:
        """Registers an agent under an id of your own."""
        body = given(
            agentId=agent_id,
            agentName=name or agent_id,
            version=version,
            capabilities=list(capabilities),
            contactEndpoint=contact_endpoint,
            metadata=metadata,
        )
        query = {"replace": True} if replace else None
        answer = await self._call("POST", "v1", "agents", query=query, body=body)
        return str(data_of(answer)["agentId"])

    async def get(self, agent_id: str) -> AgentView:
        """One agent."""
        return await self._get(AgentView, "v1", "agents", agent_id)

    async def list(
        self,
        *,
        capability: Optional[str] = None,
        state: Optional[str] = None,
        name: Optional[str] = None,
        presence: Optional[str] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
    ) -> Page[AgentView]:
        """A page of the agents that all filters fit."""
        query = given(
            capability=capability, state=state, name=name, presence=presence, limit=limit, cursor=cursor
        )
        return await self._page(AgentView, "v1", "agents", query=query)

    def iterate(
        self,
        *,
        capability: Optional[str] = None,
        state: Optional[str] = None,
        name: Optional[str] = None,
        presence: Optional[str] = None,
    ) -> AsyncIterator[AgentView]:
        """All agents that the filters fit, page after page."""
        return each(
            lambda cursor: self.list(
                capability=capability, state=state, name=name, presence=presence, cursor=cursor
            )
        )

    async def update(self, agent_id: str, changes: Json) -> AgentView:
        """Changes what is known of an agent: `version`, `contactEndpoint`, `capabilities`, `metadata`."""
        answer = await self._call("PATCH", "v1", "agents", agent_id, body=dict(changes))
        return AgentView.from_json(data_of(answer))

    async def remove(self, agent_id: str) -> None:
        """Removes an agent; its open tasks are routed again, or fail with a clear reason."""
        await self._call("DELETE", "v1", "agents", agent_id)

    async def drain(self, agent_id: str) -> None:
        """Gives an agent no more tasks."""
        await self._call("POST", *OPSCORE, "agent", agent_id, "drain", body={})

    async def undrain(self, agent_id: str) -> None:
        """Gives a drained agent tasks again."""
        await self._call("POST", *OPSCORE, "agent", agent_id, "undrain", body={})

    async def send(
        self,
        agent_id: str,
        message_type: str,
        payload: Optional[Json] = None,
        *,
        sender_id: str = "agentkit",
        session_context: Optional[Json] = None,
        idempotency_key: Optional[str] = None,
    ) -> str:
        """Sends a message to an agent and answers the message's id: it is durable, and will be delivered or become a dead
        letter."""
        body = given(
            senderId=sender_id,
            messageType=message_type,
            payload=dict(payload or {}),
            sessionContext=session_context,
        )
        answer = await self._call(
            "POST", "v1", "agents", agent_id, "run", body=body, idempotency_key=idempotency_key
        )
        return str(data_of(answer)["messageId"])

    async def run_task(self, agent_id: str, task_name: str, parameters: Optional[Json] = None) -> str:
        """Sends a task by hand, outside of any workflow, and answers the message's id."""
        body = {"task_name": task_name, "parameters": dict(parameters or {})}
        answer = await self._call("POST", "v1", "agents", agent_id, "run", body=body)
        return str(data_of(answer)["messageId"])

    async def call_tool(
        self, agent_id: str, tool_name: str, arguments: Optional[Json] = None, *, sender_id: str = "agentkit"
    ) -> ToolAnswer:
        """Runs a tool in an agent's name and waits for what it answers."""
        body = {
            "senderId": sender_id,
            "messageType": "tool_invocation",
            "payload": {"tool_name": tool_name, "arguments": dict(arguments or {})},
        }
        return ToolAnswer.from_json(await self._call("POST", "v1", "agents", agent_id, "run", body=body))

    async def message(self, message_id: str) -> MessageView:
        """Where a message is."""
        return await self._get(MessageView, "v1", "messages", message_id)

    async def report_state(
        self,
        agent_id: str,
        state: str,
        details: Optional[Json] = None,
        *,
        timestamp: Optional[datetime] = None,
    ) -> None:
        """Reports an agent's state. A report that names a task in its details settles that task."""
        body = given(
            agentId=agent_id,
            timestamp=timestamp or datetime.now(timezone.utc),
            state=state,
            details=details,
        )
        await self._call("POST", *OPSCORE, "agent", agent_id, "state", body=body)

    async def state(self, agent_id: str) -> StateView:
        """The newest state that an agent reported."""
        return await self._get(StateView, *OPSCORE, "agent", agent_id, "state")

    async def history(
        self, agent_id: str, *, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> Page[HistoryEntry]:
        """A page of an agent's reports, newest first."""
        query = given(limit=limit, cursor=cursor)
        return await self._page(HistoryEntry, *OPSCORE, "agent", agent_id, "history", query=query)

    async def log(self, agent_id: str, entries: Union[LogEntry, Sequence[LogEntry]]) -> None:
        """Writes lines to the central log, at most 1,000 in one call."""
        body: Any = entries if isinstance(entries, dict) else [dict(entry) for entry in entries]
        await self._call("POST", *OPSCORE, "agent", agent_id, "logs", body=body)
