"""What an operator looks after: dead letters, the log, retention, and how the server is."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, AsyncIterator, Optional, Union

from agentkit._async.base import OPSCORE, AsyncGroup, Json, data_of, each, given
from agentkit._model import Page
from agentkit._transport import _complete, _pairs, loads
from agentkit.models import (
    DeadLetterView,
    DiscardManyAnswer,
    LogView,
    RedriveManyAnswer,
    RetentionView,
)

When = Union[datetime, str]


class AsyncDeadLetters(AsyncGroup):
    """Deliveries that ran out of attempts."""

    async def get(self, message_id: str) -> DeadLetterView:
        """One of them, with what it carried."""
        return await self._get(DeadLetterView, "v1", "dead-letters", message_id)

    async def list(
        self,
        *,
        agent: Optional[str] = None,
        kind: Optional[str] = None,
        since: Optional[When] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
    ) -> Page[DeadLetterView]:
        """A page of those that all filters fit."""
        query = given(agent=agent, kind=kind, since=since, limit=limit, cursor=cursor)
        return await self._page(DeadLetterView, "v1", "dead-letters", query=query)

    def iterate(
        self,
        *,
        agent: Optional[str] = None,
        kind: Optional[str] = None,
        since: Optional[When] = None,
    ) -> AsyncIterator[DeadLetterView]:
        """All that the filters fit, page after page."""
        return each(lambda cursor: self.list(agent=agent, kind=kind, since=since, cursor=cursor))

    async def redrive(self, message_id: str) -> None:
        """Sends one on its way again."""
        await self._call("POST", "v1", "dead-letters", message_id, "redrive", body={})

    async def redrive_many(
        self,
        *,
        agent: Optional[str] = None,
        kind: Optional[str] = None,
        since: Optional[When] = None,
        cursor: Optional[str] = None,
    ) -> RedriveManyAnswer:
        """Sends all that the filters fit on their way again, at most 1,000; `next_cursor` goes on."""
        query = given(agent=agent, kind=kind, since=since, cursor=cursor)
        answer = await self._call("POST", "v1", "dead-letters", "redrive", query=query, body={})
        return RedriveManyAnswer.from_json(data_of(answer))

    async def drop(self, message_id: str) -> None:
        """Drops one."""
        await self._call("DELETE", "v1", "dead-letters", message_id)

    async def drop_many(
        self,
        *,
        agent: Optional[str] = None,
        kind: Optional[str] = None,
        since: Optional[When] = None,
        cursor: Optional[str] = None,
    ) -> DiscardManyAnswer:
        """Drops all that the filters fit, at most 1,000; `next_cursor` goes on."""
        query = given(agent=agent, kind=kind, since=since, cursor=cursor)
        answer = await self._call("DELETE", "v1", "dead-letters", query=query)
        return DiscardManyAnswer.from_json(data_of(answer))


class AsyncLogs(AsyncGroup):
    """The central log."""

    async def list(
        self,
        *,
        agent: Optional[str] = None,
        session: Optional[str] = None,
        level: Optional[str] = None,
        since: Optional[When] = None,
        until: Optional[When] = None,
        text: Optional[str] = None,
        order: Optional[str] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
    ) -> Page[LogView]:
        """A page of the entries that all filters fit."""
        query = given(
            agent=agent,
            session=session,
            level=level,
            since=since,
            until=until,
            text=text,
            order=order,
            limit=limit,
            cursor=cursor,
        )
        return await self._page(LogView, *OPSCORE, "logs", query=query)

    def iterate(
        self,
        *,
        agent: Optional[str] = None,
        session: Optional[str] = None,
        level: Optional[str] = None,
        since: Optional[When] = None,
        until: Optional[When] = None,
        text: Optional[str] = None,
    ) -> AsyncIterator[LogView]:
        """All entries that the filters fit, page after page."""
        return each(
            lambda cursor: self.list(
                agent=agent,
                session=session,
                level=level,
                since=since,
                until=until,
                text=text,
                cursor=cursor,
            )
        )

    async def follow(
        self,
        *,
        agent: Optional[str] = None,
        session: Optional[str] = None,
        level: Optional[str] = None,
        since: Optional[When] = None,
        text: Optional[str] = None,
        after: int = 0,
    ) -> AsyncIterator[LogView]:
        """The entries that all filters fit, as they come and without end: from now on, from the moment `since` on, or after
        the entry with the sequence `after`. A stream that breaks off is taken up again by itself; nothing is missed and
        nothing comes twice. Where entries are no longer kept, one whose `raw["type"]` is `gap` tells of them."""
        self._transport.check_process()
        query = given(agent=agent, session=session, level=level, since=since, text=text)
        stream = self._transport.native.follow([*OPSCORE, "logs"], _pairs(query), after)
        while True:
            entry = loads(await _complete(stream.next()))
            if entry is None:
                return
            yield LogView.from_json(entry_of(entry))

    async def retention(self) -> RetentionView:
        """How long what is kept."""
        return await self._get(RetentionView, *OPSCORE, "retention")

    async def set_retention(self, rules: Json) -> RetentionView:
        """Says how long what is kept."""
        return RetentionView.from_json(await self._call("PUT", *OPSCORE, "retention", body=dict(rules)))


def entry_of(entry: Any) -> Any:
    """An entry of the log; a gap is told in the place of its last entry, as of now."""
    if entry.get("type") != "gap" or "to" not in entry:
        return entry
    now = datetime.now(timezone.utc).isoformat()
    return {**entry, "sequence": entry["to"], "timestamp": now, "level": "warning"}
