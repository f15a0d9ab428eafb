"""The whole API: `Client` for programs that wait, `AsyncClient` for programs on asyncio. Both have the same calls.

    client = Client()
    session = client.workflows.trigger("count-twice", {"text": "one two three"})
    for event in client.sessions.follow(session):
        print(event.message)
    print(client.sessions.get(session).result)
"""

from __future__ import annotations

from agentkit._async.client import AsyncClient
from agentkit._sync.client import Client

__all__ = ["AsyncClient", "Client"]
