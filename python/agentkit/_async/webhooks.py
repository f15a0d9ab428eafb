"""Webhooks: addresses by which other systems start workflows."""

from __future__ import annotations

from typing import AsyncIterator, Optional

from agentkit._async.base import OPSCORE, AsyncGroup, each, given
from agentkit._model import Page
from agentkit.models import HookBody, HookView, Period


class AsyncWebhooks(AsyncGroup):
    """What other systems call."""

    async def create(self, webhook: HookBody) -> HookView:
        """Makes a webhook; its secret is in the answer, and never shown again."""
        return HookView.from_json(await self._call("POST", *OPSCORE, "hooks", body=dict(webhook)))

    async def get(self, webhook_id: str) -> HookView:
        """One webhook."""
        return await self._get(HookView, *OPSCORE, "hooks", webhook_id)

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[HookView]:
        """A page of the webhooks."""
        return await self._page(HookView, *OPSCORE, "hooks", query=given(limit=limit, cursor=cursor))

    def iterate(self) -> AsyncIterator[HookView]:
        """All webhooks, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def rotate(self, webhook_id: str, *, keep_earlier_for: Optional[Period] = None) -> HookView:
        """Gives a webhook another secret; the earlier one ends at once or after a while."""
        body = given(keepEarlierFor=keep_earlier_for)
        return HookView.from_json(await self._call("POST", *OPSCORE, "hooks", webhook_id, "rotate", body=body))

    async def delete(self, webhook_id: str) -> None:
        """Removes a webhook."""
        await self._call("DELETE", *OPSCORE, "hooks", webhook_id)
