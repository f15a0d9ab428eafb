"""Workflows: keep, compare, start and remove definitions."""

from __future__ import annotations

import builtins
from typing import Any, AsyncIterator, Mapping, Optional, Union

from agentkit._async.base import OPSCORE, AsyncGroup, Json, each, given
from agentkit._model import Page
from agentkit.models import Comparison, TriggerAnswer, WorkflowBody, WorkflowVersion, WorkflowView

Definition = Union[str, WorkflowBody, Mapping[str, Any]]


class AsyncWorkflows(AsyncGroup):
    """Definitions that the server keeps."""

    async def apply(self, definition: Definition, *, strict: bool = False) -> WorkflowView:
        """Keeps a definition under its id: a dictionary, or YAML or JSON text. `strict` refuses fields that no workflow has."""
        query = {"strict": True} if strict else None
        path = (*OPSCORE, "workflows")
        if isinstance(definition, str):
            text = ("application/yaml", definition)
            return WorkflowView.from_json(await self._call("POST", *path, query=query, text=text))
        return WorkflowView.from_json(await self._call("POST", *path, query=query, body=dict(definition)))

    async def get(self, workflow_id: str, revision: Optional[int] = None) -> WorkflowView:
        """One definition, or an earlier revision of it."""
        version = () if revision is None else ("versions", str(revision))
        return await self._get(WorkflowView, *OPSCORE, "workflows", workflow_id, *version)

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[WorkflowView]:
        """A page of the definitions."""
        query = given(limit=limit, cursor=cursor)
        return await self._page(WorkflowView, *OPSCORE, "workflows", query=query)

    def iterate(self) -> AsyncIterator[WorkflowView]:
        """All definitions, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def delete(self, workflow_id: str, revision: Optional[int] = None) -> None:
        """Removes a definition that no open session runs, or a revision of it."""
        version = () if revision is None else ("versions", str(revision))
        await self._call("DELETE", *OPSCORE, "workflows", workflow_id, *version)

    async def versions(
        self, workflow_id: str, *, limit: Optional[int] = None, cursor: Optional[str] = None
    ) -> Page[WorkflowVersion]:
        """A page of a definition's revisions."""
        query = given(limit=limit, cursor=cursor)
        return await self._page(WorkflowVersion, *OPSCORE, "workflows", workflow_id, "versions", query=query)

    async def compare(self, workflow_id: str, older: int, newer: int) -> Comparison:
        """What has to be done to one revision to get another."""
        path = (*OPSCORE, "workflows", workflow_id, "versions", str(older), "compare", str(newer))
        return await self._get(Comparison, *path)

    async def roll_back(self, workflow_id: str, revision: int) -> WorkflowView:
        """Makes an earlier revision the newest again."""
        path = (*OPSCORE, "workflows", workflow_id, "versions", str(revision), "rollback")
        return WorkflowView.from_json(await self._call("POST", *path, body={}))

    async def trigger(
        self,
        workflow: Union[str, Mapping[str, Any]],
        input: Optional[Json] = None,
        *,
        agent_id: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> str:
        """Starts a session and answers its id. `workflow` is the id of a kept definition, or a definition, which is kept
        under its id; `agent_id` does the tasks that name neither an agent nor a capability."""
        payload = dict(input or {})
        if isinstance(workflow, str):
            path: builtins.tuple[str, ...] = (*OPSCORE, "workflows", workflow, "trigger")
            body = given(initialPayload=payload, agentId=agent_id)
        elif agent_id is not None:
            path = (*OPSCORE, "agent", agent_id, "workflow")
            body = {"workflowDefinition": dict(workflow), "initialPayload": payload}
        else:
            kept = await self.apply(workflow)
            path = (*OPSCORE, "workflows", kept.id, "trigger")
            body = {"initialPayload": payload}
        answer = await self._call("POST", *path, body=body, idempotency_key=idempotency_key)
        return TriggerAnswer.from_json(answer).session_id
