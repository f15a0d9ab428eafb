"""Schedules: start workflows by the clock."""

from __future__ import annotations

from datetime import datetime
from typing import AsyncIterator, Optional, Union

from agentkit._async.base import OPSCORE, AsyncGroup, Json, each, given
from agentkit._model import Page
from agentkit.models import BackfillAnswer, FireView, Overlap, ScheduleBody, ScheduleView

When = Union[datetime, str]


class AsyncSchedules(AsyncGroup):
    """What starts workflows at times."""

    async def apply(self, schedule: ScheduleBody) -> ScheduleView:
        """Keeps a schedule under its id, replacing the one before."""
        answer = await self._call("POST", *OPSCORE, "schedules", body=dict(schedule))
        return ScheduleView.from_json(answer)

    async def get(self, schedule_id: str) -> ScheduleView:
        """One schedule."""
        return await self._get(ScheduleView, *OPSCORE, "schedules", schedule_id)

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[ScheduleView]:
        """A page of the schedules."""
        query = given(limit=limit, cursor=cursor)
        return await self._page(ScheduleView, *OPSCORE, "schedules", query=query)

    def iterate(self) -> AsyncIterator[ScheduleView]:
        """All schedules, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def update(self, schedule_id: str, changes: Json) -> ScheduleView:
        """Changes a schedule in part."""
        answer = await self._call("PATCH", *OPSCORE, "schedules", schedule_id, body=dict(changes))
        return ScheduleView.from_json(answer)

    async def delete(self, schedule_id: str) -> None:
        """Removes a schedule; its sessions go on."""
        await self._call("DELETE", *OPSCORE, "schedules", schedule_id)

    async def pause(self, schedule_id: str) -> ScheduleView:
        """Lets it start nothing more."""
        answer = await self._call("POST", *OPSCORE, "schedules", schedule_id, "pause", body={})
        return ScheduleView.from_json(answer)

    async def resume(self, schedule_id: str) -> ScheduleView:
        """Lets it start sessions again."""
        answer = await self._call("POST", *OPSCORE, "schedules", schedule_id, "resume", body={})
        return ScheduleView.from_json(answer)

    async def trigger(self, schedule_id: str, *, overlap: Optional[Overlap] = None) -> FireView:
        """Starts a session now, as if its time had come."""
        body = given(overlap=overlap)
        answer = await self._call("POST", *OPSCORE, "schedules", schedule_id, "trigger", body=body)
        return FireView.from_json(answer)

    async def backfill(
        self, schedule_id: str, since: When, until: When, *, overlap: Optional[Overlap] = None
    ) -> BackfillAnswer:
        """Starts what would have been started in a span of the past."""
        body = given(**{"from": since, "to": until, "overlap": overlap})
        answer = await self._call("POST", *OPSCORE, "schedules", schedule_id, "backfill", body=body)
        return BackfillAnswer.from_json(answer)

    async def runs(
        self, schedule_id: str, *, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> Page[FireView]:
        """A page of its fire times, newest first, with what came of each."""
        query = given(limit=limit, cursor=cursor)
        return await self._page(FireView, *OPSCORE, "schedules", schedule_id, "runs", query=query)
