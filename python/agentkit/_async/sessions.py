"""Sessions: look, follow, wait for, steer, and decide what they ask."""

from __future__ import annotations

from datetime import datetime
from typing import Any, AsyncIterator, Optional, Union

from agentkit._async.base import OPSCORE, AsyncGroup, Json, each, given
from agentkit._model import Page
from agentkit._transport import _complete, loads
from agentkit.errors import Conflict
from agentkit.models import (
    EventView,
    ManyAnswer,
    SessionFilterBody,
    SessionView,
    TimelineView,
    TriggerAnswer,
)

When = Union[datetime, str]


class AsyncSessions(AsyncGroup):
    """Runs of workflows."""

    async def get(self, session_id: str, *, whole: bool = False) -> SessionView:
        """A session with its tasks; `whole` puts large values in place of the references to them."""
        query = {"whole": True} if whole else None
        return await self._get(SessionView, *OPSCORE, "sessions", session_id, query=query)

    async def list(
        self,
        *,
        workflow: Optional[str] = None,
        status: Optional[str] = None,
        agent: Optional[str] = None,
        since: Optional[When] = None,
        until: Optional[When] = None,
        text: Optional[str] = None,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
    ) -> Page[SessionView]:
        """A page of the sessions that all filters fit, newest first."""
        query = given(
            workflow=workflow,
            status=status,
            agent=agent,
            since=since,
            until=until,
            text=text,
            limit=limit,
            cursor=cursor,
        )
        return await self._page(SessionView, *OPSCORE, "sessions", query=query)

    def iterate(
        self,
        *,
        workflow: Optional[str] = None,
        status: Optional[str] = None,
        agent: Optional[str] = None,
        since: Optional[When] = None,
        until: Optional[When] = None,
        text: Optional[str] = None,
    ) -> AsyncIterator[SessionView]:
        """All sessions that the filters fit, page after page."""
        return each(
            lambda cursor: self.list(
                workflow=workflow,
                status=status,
                agent=agent,
                since=since,
                until=until,
                text=text,
                cursor=cursor,
            )
        )

    async def events(
        self, session_id: str, *, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> Page[EventView]:
        """A page of a session's history, oldest first."""
        query = given(limit=limit, cursor=cursor)
        return await self._page(EventView, *OPSCORE, "sessions", session_id, "events", query=query)

    async def follow(self, session_id: str, *, after: int = 0) -> AsyncIterator[EventView]:
        """A session's events as they happen, from the one after `after`, until the session is over. A stream that breaks off
        is taken up again by itself; nothing is missed and nothing comes twice."""
        self._transport.check_process()
        stream = self._transport.native.session_events(session_id, after)
        while True:
            event = loads(await _complete(stream.next()))
            if event is None:
                return
            yield EventView.from_json(event)

    async def wait(self, session_id: str) -> SessionView:
        """Waits until a session is over and answers it; `status` says how it ended."""
        async for _ in self.follow(session_id):
            pass
        return await self.get(session_id)

    async def timeline(self, session_id: str) -> TimelineView:
        """A session's tasks in time."""
        return await self._get(TimelineView, *OPSCORE, "sessions", session_id, "timeline")

    async def payload(self, sha256: str) -> Any:
        """The value that a reference in a session names."""
        return await self._call("GET", *OPSCORE, "payloads", sha256)

    async def pause(self, session_id: str) -> SessionView:
        """Lets no further task of a session start."""
        return await self._control(session_id, "pause", {})

    async def resume(self, session_id: str) -> SessionView:
        """Lets a paused session go on."""
        return await self._control(session_id, "resume", {})

    async def cancel(self, session_id: str, reason: Optional[str] = None) -> SessionView:
        """Ends a session before its time."""
        return await self._control(session_id, "cancel", given(reason=reason))

    async def retry(self, session_id: str) -> SessionView:
        """Gives a failed session another chance from the task that failed."""
        return await self._control(session_id, "retry", {})

    async def rerun(self, session_id: str) -> str:
        """Runs a session again as a new one and answers its id."""
        answer = await self._call("POST", *OPSCORE, "sessions", session_id, "rerun", body={})
        return TriggerAnswer.from_json(answer).session_id

    async def delete(self, session_id: str) -> None:
        """Removes a session that is over."""
        await self._call("DELETE", *OPSCORE, "sessions", session_id)

    async def signal(self, session_id: str, signal: str, payload: Any = None) -> SessionView:
        """Tells a session of something that one of its tasks waits for, or will."""
        return await self._control(session_id, "signal", given(signal=signal, payload=payload))

    async def approve(
        self,
        session_id: str,
        task_id: str,
        *,
        comment: Optional[str] = None,
        digest: Optional[str] = None,
    ) -> SessionView:
        """Agrees to what a task asks approval for: to what it asks now, or to what you have seen, by its `digest`."""
        if digest is None:
            digest = asked(await self.get(session_id), task_id)
        return await self._decide(session_id, task_id, "approve", given(digest=digest, comment=comment))

    async def refuse(
        self, session_id: str, task_id: str, *, comment: Optional[str] = None
    ) -> SessionView:
        """Refuses what a task asks approval for."""
        return await self._decide(session_id, task_id, "refuse", given(comment=comment))

    async def pause_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Pauses all sessions that a filter fits, at most `limit` at once."""
        return await self._many("pause", filter, more)

    async def resume_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Resumes all paused sessions that a filter fits."""
        return await self._many("resume", filter, more)

    async def cancel_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Cancels all sessions that a filter fits, with a `reason`."""
        return await self._many("cancel", filter, more)

    async def retry_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Retries all failed sessions that a filter fits."""
        return await self._many("retry", filter, more)

    async def rerun_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Runs all sessions that a filter fits again."""
        return await self._many("rerun", filter, more)

    async def purge_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Removes all sessions that a filter fits and that are over."""
        return await self._many("purge", filter, more)

    async def signal_many(
        self, filter: SessionFilterBody, signal: str, payload: Any = None, **more: Any
    ) -> ManyAnswer:
        """Signals all sessions that a filter fits."""
        return await self._many("signal", filter, {**given(signal=signal, payload=payload), **more})

    async def approve_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Agrees to what all sessions that a filter fits ask."""
        return await self._many("approve", filter, more)

    async def refuse_many(self, filter: SessionFilterBody, **more: Any) -> ManyAnswer:
        """Refuses what all sessions that a filter fits ask."""
        return await self._many("refuse", filter, more)

    async def _many(self, verb: str, filter: SessionFilterBody, more: Json) -> ManyAnswer:
        body = {"filter": dict(filter), **more}
        return ManyAnswer.from_json(await self._call("POST", *OPSCORE, "sessions", verb, body=body))

    async def _control(self, session_id: str, verb: str, body: Json) -> SessionView:
        answer = await self._call("POST", *OPSCORE, "sessions", session_id, verb, body=body)
        return SessionView.from_json(answer)

    async def _decide(self, session_id: str, task_id: str, verb: str, body: Json) -> SessionView:
        path = (*OPSCORE, "sessions", session_id, "tasks", task_id, verb)
        return SessionView.from_json(await self._call("POST", *path, body=body))


def asked(session: SessionView, task_id: str) -> str:
    """The digest of what a task asks approval for."""
    for task in session.tasks or []:
        if task.task_id == task_id and task.approval is not None:
            return task.approval.digest
    raise Conflict(f"the task '{task_id}' of session {session.session_id} asks for no approval", 409)
