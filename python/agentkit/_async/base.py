"""What all groups of calls stand on."""

from __future__ import annotations

from typing import Any, AsyncIterator, Awaitable, Callable, Mapping, Optional, Sequence, TypeVar

from agentkit._model import Model, Page
from agentkit._transport import Query, Transport, _complete, loads

M = TypeVar("M", bound=Model)

OPSCORE = ("v1", "opscore")
ARTCAFE = ("api", "v1")


class AsyncGroup:
    """Calls about one kind of thing."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _call(
        self,
        method: str,
        *path: str,
        query: Optional[Query] = None,
        body: Any = None,
        text: Optional[tuple[str, str]] = None,
        idempotency_key: Optional[str] = None,
    ) -> Any:
        call = self._transport.call(
            method, path, query=query, body=body, text=text, idempotency_key=idempotency_key
        )
        return loads(await _complete(call))

    async def _get(self, model: type[M], *path: str, query: Optional[Query] = None) -> M:
        return model.from_json(data_of(await self._call("GET", *path, query=query)))

    async def _page(
        self, model: type[M], *path: str, query: Query, items: str = "data", cursor: str = "next_cursor"
    ) -> Page[M]:
        answer = await self._call("GET", *path, query=query)
        return Page([model.from_json(item) for item in answer[items]], answer.get(cursor))


async def each(page: Callable[[Optional[str]], Awaitable[Page[M]]]) -> AsyncIterator[M]:
    """Every item of a list, page after page."""
    cursor: Optional[str] = None
    while True:
        part = await page(cursor)
        for item in part:
            yield item
        cursor = part.next_cursor
        if cursor is None:
            return


def data_of(answer: Any) -> Any:
    """What the AgentKit surface wraps in `{"status", "message", "data"}`."""
    if isinstance(answer, dict) and answer.get("status") == "success" and "data" in answer:
        return answer["data"]
    return answer


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not `None`."""
    return {name: value for name, value in fields.items() if value is not None}


Json = Mapping[str, Any]
Names = Sequence[str]
