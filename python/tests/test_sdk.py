"""The AgentKit SDK as its guides describe it."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable

import pytest
from conftest import Server, until

import agentkit
from agentkit.sdk.client import AgentKitClient, AgentKitError


def run(program: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await program()

    asyncio.run(main())


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCORE_API_URL", server.url)
    monkeypatch.setenv("OPSCORE_API_KEY", server.key)


def test_a_program_of_the_guides(client: agentkit.Client) -> None:
    async def program() -> None:
        sdk_client = AgentKitClient()
        agent_id = await sdk_client.register_agent(
            agent_name="sdk-agent",
            capabilities=["count"],
            version="1.0",
            contact_endpoint="http://127.0.0.1:9/",
            metadata={"owner": "me"},
        )
        assert isinstance(agent_id, str)
        again = await sdk_client.register_agent("sdk-agent", ["count"], "1.1", "http://127.0.0.1:9/")
        assert again == agent_id, "a restarted agent comes back under its name"
        await sdk_client.report_state_to_opscore(agent_id, "idle")
        await sdk_client.report_state_to_opscore(
            agent_id=agent_id, state="active", details={"current_task": "processing_data"}
        )
        answer = await sdk_client.send_message(
            target_agent_id=agent_id,
            sender_id="me",
            message_type="greeting",
            payload={"text": "hello"},
            session_context={"sessionId": "s-1"},
        )
        assert answer["status"] == "success" and answer["data"]["dispatch_status"] == "scheduled"
        tool = await sdk_client.send_message(
            agent_id, "me", "tool_invocation", {"tool_name": "echo", "arguments": {"a": 1}}
        )
        assert tool["data"] == {"a": 1}
        state = client.agents.state(agent_id)
        assert (state.state, state.details) == ("active", {"current_task": "processing_data"})
        await sdk_client.close()

    run(program)


def test_errors_have_status_and_data() -> None:
    async def program() -> None:
        client = AgentKitClient()
        with pytest.raises(AgentKitError) as told:
            await client.send_message("agt_nobody", "me", "greeting", {})
        assert told.value.status_code == 404
        assert told.value.response_data["detail"] and told.value.response_data["status"] == 404
        with pytest.raises(AgentKitError) as refused:
            await client.register_agent("", [], "1", "nowhere")
        assert refused.value.status_code == 422
        assert refused.value.response_data["errors"]

    run(program)


@pytest.mark.parametrize("missing", ["OPSCORE_API_URL", "OPSCORE_API_KEY"])
def test_what_is_not_configured_is_named(missing: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(missing)

    async def program() -> None:
        client = AgentKitClient(server.url)
        with pytest.raises(AgentKitError, match=f"Configuration error: {missing} not set."):
            await client.report_state_to_opscore("agt_x", "idle")

    run(program)


def test_a_report_settles_its_task(client: agentkit.Client) -> None:
    """The loop of the guides: registered, told of a task, `active`, `idle`."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    import json
    import threading

    messages: list[Any] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    endpoint = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()

    async def program() -> None:
        sdk = AgentKitClient()
        agent_id = await sdk.register_agent("sdk-loop", ["loop"], "1.0", f"http://127.0.0.1:{endpoint.server_port}/")
        await sdk.report_state_to_opscore(agent_id, "idle")
        session = client.workflows.trigger(
            {"id": "sdk-loop", "name": "Loop", "tasks": [{"taskId": "one", "agentId": agent_id}]}
        )
        message = until(lambda: messages and messages[0])
        assert message["messageType"] == "workflow_task"
        await sdk.report_state_to_opscore(agent_id, "active")
        until(lambda: client.sessions.get(session).tasks[0].status == "running")  # type: ignore[index]
        await sdk.report_state_to_opscore(agent_id, "idle", {"result": {"n": 1}})
        assert client.sessions.wait(session).status == "completed"

    run(program)
    endpoint.shutdown()
    endpoint.server_close()
