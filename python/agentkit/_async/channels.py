"""Channels and commands: what goes over the agents' connections."""

from __future__ import annotations

from typing import Any, AsyncIterator, Optional

from agentkit._async.base import ARTCAFE, AsyncGroup, Json, each, given
from agentkit._model import Page
from agentkit.models import (
    ChannelMessageView,
    ChannelView,
    CommandView,
    PresenceView,
    PublishAccepted,
)


class AsyncChannels(AsyncGroup):
    """Named subjects with history."""

    async def create(
        self, name: str, *, description: Optional[str] = None, retention: Optional[Json] = None
    ) -> ChannelView:
        """Makes a channel; its name is its subject."""
        body = given(name=name, description=description, retention=retention)
        return ChannelView.from_json(await self._call("POST", *ARTCAFE, "channels", body=body))

    async def get(self, channel_id: str) -> ChannelView:
        """One channel."""
        return await self._get(ChannelView, *ARTCAFE, "channels", channel_id)

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[ChannelView]:
        """A page of the channels."""
        query = given(limit=limit, next_token=cursor)
        return await self._page(
            ChannelView, *ARTCAFE, "channels", query=query, items="channels", cursor="next_token"
        )

    def iterate(self) -> AsyncIterator[ChannelView]:
        """All channels, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def update(self, channel_id: str, changes: Json) -> ChannelView:
        """Changes a channel's description or retention."""
        answer = await self._call("PATCH", *ARTCAFE, "channels", channel_id, body=dict(changes))
        return ChannelView.from_json(answer)

    async def delete(self, channel_id: str) -> None:
        """Removes a channel with its history."""
        await self._call("DELETE", *ARTCAFE, "channels", channel_id)

    async def publish(
        self, channel_id: str, payload: Any, *, idempotency_key: Optional[str] = None
    ) -> PublishAccepted:
        """Publishes a message."""
        path = (*ARTCAFE, "channels", channel_id, "messages")
        answer = await self._call("POST", *path, body={"payload": payload}, idempotency_key=idempotency_key)
        return PublishAccepted.from_json(answer)

    async def history(
        self,
        channel_id: str,
        *,
        after: Optional[int] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
    ) -> Page[ChannelMessageView]:
        """A page of what is kept of a channel, oldest first, from the message after `after`."""
        query = given(after=after, limit=limit, next_token=cursor)
        path = (*ARTCAFE, "channels", channel_id, "messages")
        return await self._page(ChannelMessageView, *path, query=query, items="messages", cursor="next_token")

    async def presence(self, channel_id: str) -> PresenceView:
        """Who is subscribed to it."""
        return await self._get(PresenceView, *ARTCAFE, "channels", channel_id, "presence")


class AsyncCommands(AsyncGroup):
    """Requests to connected agents."""

    async def send(
        self,
        agent_id: str,
        command: str,
        args: Optional[Json] = None,
        *,
        timeout: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> str:
        """Sends a command and answers its id; an agent that is away gets it when it connects, within `timeout` seconds."""
        body = given(command=command, args=dict(args or {}), timeout=timeout)
        path = (*ARTCAFE, "agents", agent_id, "commands")
        answer = await self._call("POST", *path, body=body, idempotency_key=idempotency_key)
        return str(answer["command_id"])

    async def run(
        self,
        agent_id: str,
        command: str,
        args: Optional[Json] = None,
        *,
        timeout: Optional[int] = None,
    ) -> CommandView:
        """Sends a command and waits for its answer; none in time is a `ServerError` of status 504."""
        body = given(command=command, args=dict(args or {}), timeout=timeout)
        path = (*ARTCAFE, "agents", agent_id, "commands")
        return CommandView.from_json(await self._call("POST", *path, query={"wait": True}, body=body))

    async def get(self, agent_id: str, command_id: str) -> CommandView:
        """Where a command stands."""
        return await self._get(CommandView, *ARTCAFE, "agents", agent_id, "commands", command_id)

    async def list(
        self, agent_id: str, *, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> Page[CommandView]:
        """A page of an agent's commands, newest first."""
        query = given(limit=limit, next_token=cursor)
        path = (*ARTCAFE, "agents", agent_id, "commands")
        return await self._page(CommandView, *path, query=query, items="commands", cursor="next_token")

    async def cancel(self, agent_id: str, command_id: str, reason: Optional[str] = None) -> CommandView:
        """Takes a command back."""
        path = (*ARTCAFE, "agents", agent_id, "commands", command_id, "cancel")
        return CommandView.from_json(await self._call("POST", *path, body=given(reason=reason)))
