"""Who may call: tenants, API keys, SSH keys, and what a tenant uses."""

from __future__ import annotations

from typing import AsyncIterator, Optional

from agentkit._async.base import ARTCAFE, AsyncGroup, Json, each, given
from agentkit._model import Page
from agentkit.models import (
    KeyScope,
    KeyView,
    Period,
    SshKeyType,
    SshKeyView,
    TenantCreated,
    TenantView,
    UsageMetrics,
)


class AsyncTenants(AsyncGroup):
    """Who owns everything else; the platform key makes and removes them."""

    async def create(self, name: str, *, admin_email: Optional[str] = None) -> TenantCreated:
        """Makes a tenant; its API key is in the answer, and never shown again."""
        body = given(name=name, admin_email=admin_email)
        return TenantCreated.from_json(await self._call("POST", *ARTCAFE, "tenants", body=body))

    async def get(self, tenant_id: str) -> TenantView:
        """One tenant."""
        return await self._get(TenantView, *ARTCAFE, "tenants", tenant_id)

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[TenantView]:
        """A page of the tenants."""
        query = given(limit=limit, next_token=cursor)
        return await self._page(
            TenantView, *ARTCAFE, "tenants", query=query, items="tenants", cursor="next_token"
        )

    def iterate(self) -> AsyncIterator[TenantView]:
        """All tenants, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def update(self, tenant_id: str, changes: Json) -> TenantView:
        """Changes a tenant's name or limits."""
        answer = await self._call("PATCH", *ARTCAFE, "tenants", tenant_id, body=dict(changes))
        return TenantView.from_json(answer)

    async def remove(self, tenant_id: str) -> None:
        """Removes a tenant with all that it owns."""
        await self._call("DELETE", *ARTCAFE, "tenants", tenant_id)

    async def usage(self, *, days: Optional[int] = None) -> UsageMetrics:
        """What the caller's tenant uses, day by day, and its limits."""
        return await self._get(UsageMetrics, *ARTCAFE, "usage-metrics", query=given(days=days))


class AsyncKeys(AsyncGroup):
    """API keys of the tenant."""

    async def create(
        self, name: str, scope: KeyScope = "agent", *, expires_in: Optional[Period] = None
    ) -> KeyView:
        """Makes a key; it is in the answer's `key`, and never shown again."""
        body = given(name=name, scope=scope, expiresIn=expires_in)
        return KeyView.from_json(await self._call("POST", "v1", "keys", body=body))

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[KeyView]:
        """A page of the keys, without the keys themselves."""
        return await self._page(KeyView, "v1", "keys", query=given(limit=limit, cursor=cursor))

    def iterate(self) -> AsyncIterator[KeyView]:
        """All keys, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def rotate(
        self, key_id: str, *, keep_earlier_for: Optional[Period] = None, expires_in: Optional[Period] = None
    ) -> KeyView:
        """Makes another key in place of one, which ends at once or after a while."""
        body = given(keepEarlierFor=keep_earlier_for, expiresIn=expires_in)
        return KeyView.from_json(await self._call("POST", "v1", "keys", key_id, "rotate", body=body))

    async def revoke(self, key_id: str) -> None:
        """Ends a key at once."""
        await self._call("DELETE", "v1", "keys", key_id)


class AsyncSshKeys(AsyncGroup):
    """SSH keys by which agents sign in."""

    async def add(
        self,
        name: str,
        public_key: str,
        *,
        key_type: SshKeyType = "agent",
        agent_id: Optional[str] = None,
    ) -> SshKeyView:
        """Adds a public key, in OpenSSH's form."""
        body = given(name=name, public_key=public_key, key_type=key_type, agent_id=agent_id)
        return SshKeyView.from_json(await self._call("POST", *ARTCAFE, "ssh-keys", body=body))

    async def get(self, key_id: str) -> SshKeyView:
        """One key."""
        return await self._get(SshKeyView, *ARTCAFE, "ssh-keys", key_id)

    async def list(self, *, limit: Optional[int] = None, cursor: Optional[str] = None) -> Page[SshKeyView]:
        """A page of the keys."""
        query = given(limit=limit, next_token=cursor)
        return await self._page(
            SshKeyView, *ARTCAFE, "ssh-keys", query=query, items="ssh_keys", cursor="next_token"
        )

    def iterate(self) -> AsyncIterator[SshKeyView]:
        """All keys, page after page."""
        return each(lambda cursor: self.list(cursor=cursor))

    async def revoke(self, key_id: str, reason: Optional[str] = None) -> SshKeyView:
        """Ends a key, its tokens and its connections at once."""
        body = given(reason=reason)
        return SshKeyView.from_json(await self._call("POST", *ARTCAFE, "ssh-keys", key_id, "revoke", body=body))

    async def remove(self, key_id: str) -> None:
        """Removes a key."""
        await self._call("DELETE", *ARTCAFE, "ssh-keys", key_id)
