"""Tools: HTTP endpoints that agents call through the server, with checked arguments."""

from __future__ import annotations

from typing import AsyncIterator, Optional

from agentkit._async.base import AsyncGroup, Json, data_of, each, given
from agentkit._model import Page
from agentkit.errors import Conflict, NotFound
from agentkit.models import ToolView


class AsyncTools(AsyncGroup):
    """Tools of the tenant; making and removing them needs a key of scope `admin`."""

    async def register(
        self,
        name: str,
        endpoint: str,
        *,
        description: str = "",
        parameters: Optional[Json] = None,
        replace: bool = True,
    ) -> ToolView:
        """Registers a tool. A taken name is taken over: the tool of that name is removed first."""
        body = {
            "name": name,
            "description": description or name,
            "parameters": dict(parameters or {"type": "object"}),
            "endpoint": endpoint,
        }
        try:
            answer = await self._call("POST", "v1", "tools", body=body)
        except Conflict:
            if not replace:
                raise
            try:
                await self.remove(name)
            except NotFound:
                pass  # Somebody else was faster.
            answer = await self._call("POST", "v1", "tools", body=body)
        return ToolView.from_json(data_of(answer))

    async def get(self, name: str) -> ToolView:
        """One tool."""
        return await self._get(ToolView, "v1", "tools", name)

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[ToolView]:
        """A page of the tools."""
        return await self._page(ToolView, "v1", "tools", query=given(limit=limit, cursor=cursor))

    def iterate(self) -> AsyncIterator[ToolView]:
        """All tools, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def remove(self, name: str) -> None:
        """Removes a tool."""
        await self._call("DELETE", "v1", "tools", name)
