"""The whole API of a server, by what it is about."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Optional

from agentkit import _native, _settings
from agentkit._async.access import AsyncKeys, AsyncSshKeys, AsyncTenants
from agentkit._async.agents import AsyncAgents
from agentkit._async.base import AsyncGroup
from agentkit._async.channels import AsyncChannels, AsyncCommands
from agentkit._async.operations import AsyncDeadLetters, AsyncLogs
from agentkit._async.schedules import AsyncSchedules
from agentkit._async.sessions import AsyncSessions
from agentkit._async.tools import AsyncTools
from agentkit._async.webhooks import AsyncWebhooks
from agentkit._async.workflows import AsyncWorkflows
from agentkit._transport import Query, Transport
from agentkit.errors import ConfigurationError


class AsyncClient(AsyncGroup):
    """A client of one server on behalf of one caller.

    `url` is the server, else `SIGNALBOX_URL`, else `OPSCORE_API_URL`, else `http://127.0.0.1:8000`; `api_key` is the key,
    else `SIGNALBOX_API_KEY`, else `OPSCORE_API_KEY`. What fails for a moment is tried up to `attempts` times, with growing
    waits and jitter, at the time that `Retry-After` names; `timeout` is in seconds, for one attempt. `tenant` is the tenant
    that a platform key acts in; any other key has its own.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        api_key: Optional[str] = None,
        *,
        tenant: Optional[str] = None,
        timeout: Optional[float] = None,
        attempts: Optional[int] = None,
    ) -> None:
        address = _settings.server_url(url)
        try:
            native = _native.Client(address, _settings.api_key(api_key), timeout, attempts, tenant, _settings.key_source(api_key))
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._use(Transport(native))

    def _use(self, transport: Transport) -> None:
        self._transport = transport
        self.agents = AsyncAgents(transport)
        self.tools = AsyncTools(transport)
        self.workflows = AsyncWorkflows(transport)
        self.sessions = AsyncSessions(transport)
        self.schedules = AsyncSchedules(transport)
        self.webhooks = AsyncWebhooks(transport)
        self.channels = AsyncChannels(transport)
        self.commands = AsyncCommands(transport)
        self.dead_letters = AsyncDeadLetters(transport)
        self.logs = AsyncLogs(transport)
        self.tenants = AsyncTenants(transport)
        self.keys = AsyncKeys(transport)
        self.ssh_keys = AsyncSshKeys(transport)

    def with_options(
        self, *, timeout: Optional[float] = None, idempotency_key: Optional[str] = None
    ) -> AsyncClient:
        """The same client for calls with another timeout, or under an idempotency key of your own."""
        other = object.__new__(type(self))
        changes: dict[str, Any] = {"timeout": timeout} if timeout is not None else {}
        other._use(self._transport.with_options(**changes, idempotency_key=idempotency_key))
        return other

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.native.url

    async def request(
        self, method: str, *path: str, query: Optional[Query] = None, body: Any = None
    ) -> Any:
        """Any call of the API, by the segments of its path; answers the JSON as it is.

        `client.request("GET", "v1", "opscore", "sessions", query={"limit": 5})`
        """
        return await self._call(method, *path, query=query, body=body)

    async def health(self) -> bool:
        """Whether the server is alive; raises where it does not answer."""
        answer = await self._call("GET", "health")
        return bool(answer["status"] == "ok")

    async def ready(self) -> Any:
        """Whether the server can take work; raises `ServerError` with what is not ready."""
        return await self._call("GET", "ready")

    async def close(self) -> None:
        """Nothing has to be closed; here for `with`, and for those who are used to it."""

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()
