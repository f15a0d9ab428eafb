"""The whole API, with the synchronous client and the asynchronous one."""

from __future__ import annotations

import asyncio
import json
import queue
import signal
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Callable, Iterator

import pytest
from conftest import DEADLINE, PLATFORM_KEY, Program, Server, until

from agentkit import AgentKitError, AsyncClient, Client, _transport, errors
from agentkit._async.operations import entry_of
from agentkit.models import AgentView, EventView, LogView


def name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


APPROVAL = {
    "name": "Approval",
    "tasks": [{"taskId": "ask", "approve": {"what": "Go on?"}}, {"taskId": "go", "tool": "echo"}],
}


def test_agents(client: Client) -> None:
    its_name = name("agent")
    agent_id = client.agents.register(its_name, ["add"], metadata={"team": "a"})
    assert client.agents.register(its_name, ["add"]) == agent_id, "a restarted agent keeps its id"
    with pytest.raises(errors.Conflict) as taken:
        client.agents.register(its_name, ["add"], replace=False)
    assert taken.value.status_code == 409 and its_name in taken.value.detail

    agent = client.agents.get(agent_id)
    assert isinstance(agent, AgentView)
    assert (agent.agent_name, agent.capabilities) == (its_name, ["add"])
    assert isinstance(agent.registration_time, datetime) and agent.registration_time.tzinfo is not None
    assert agent.raw["agentId"] == agent_id
    assert [one.agent_id for one in client.agents.list(name=its_name)] == [agent_id]

    client.agents.report_state(agent_id, "busy", {"why": "test"})
    assert client.agents.state(agent_id).details == {"why": "test"}
    assert client.agents.history(agent_id)[0].state == "busy"
    client.agents.drain(agent_id)
    client.agents.undrain(agent_id)
    assert client.agents.update(agent_id, {"version": "2"}).version == "2"
    client.agents.log(agent_id, [{"level": "info", "message": "hello from a test"}])
    assert [entry.message for entry in client.logs.list(agent=agent_id, text="hello from a test")] == ["hello from a test"]
    client.agents.remove(agent_id)
    with pytest.raises(errors.NotFound):
        client.agents.get(agent_id)


def test_lists_are_followed_page_by_page(client: Client) -> None:
    prefix = name("page")
    made = {client.agents.register(f"{prefix}-{number}", [prefix]) for number in range(5)}
    page = client.agents.list(capability=prefix, limit=2)
    assert len(page) == 2 and page.next_cursor is not None
    assert {agent.agent_id for agent in client.agents.iterate(capability=prefix)} == made


def test_workflows_and_sessions(client: Client) -> None:
    workflow = name("approval")
    kept = client.workflows.apply({"id": workflow, **APPROVAL})
    assert kept.revision == 1 and kept.tasks[0]["taskId"] == "ask"
    yaml = f"id: {workflow}\nname: Approval, again\ntasks:\n  - taskId: ask\n    approve: {{what: 'Go on?'}}\n"
    yaml += "  - taskId: go\n    tool: echo\n"
    assert client.workflows.apply(yaml).revision == 2
    assert [one.revision for one in client.workflows.versions(workflow)] == [2, 1]
    assert client.workflows.compare(workflow, 1, 2).differences
    assert client.workflows.roll_back(workflow, 1).name == "Approval"

    session = client.workflows.trigger(workflow, {"n": 1})
    until(lambda: client.sessions.get(session).tasks[0].approval)  # type: ignore[index]
    assert client.sessions.approve(session, "ask", comment="yes").session_id == session
    done = client.sessions.wait(session)
    assert done.status == "completed" and done.input == {"n": 1}
    events = list(client.sessions.follow(session))
    assert all(isinstance(event, EventView) for event in events)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.sequence for event in client.sessions.follow(session, after=2)] == list(range(3, len(events) + 1))
    assert client.sessions.timeline(session).tasks[0].task_id == "ask"
    with pytest.raises(errors.Conflict, match="approv"):
        client.sessions.approve(session, "ask")

    again = client.sessions.rerun(session)
    assert client.sessions.pause(again).status == "paused"
    client.sessions.resume(again)
    assert client.sessions.cancel(again, "not needed").status == "cancelled"
    many = client.sessions.rerun_many({"workflow": workflow, "status": "cancelled"})
    assert many.done == 1
    assert client.sessions.cancel_many({"workflow": workflow}, reason="enough").done >= 1
    assert {one.status for one in client.sessions.iterate(workflow=workflow)} == {"completed", "cancelled"}


def test_a_faulty_definition_has_all_its_faults(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        client.workflows.apply({"id": "not good", "tasks": [{"taskId": "a b"}]})
    assert refused.value.status_code == 422
    assert {"/id", "/name"} <= {fault["pointer"] for fault in refused.value.errors}
    assert refused.value.request_id


def test_an_idempotency_key_makes_one_session_of_two_calls(client: Client) -> None:
    workflow = name("once")
    client.workflows.apply({"id": workflow, **APPROVAL})
    key = name("key")
    first = client.workflows.trigger(workflow, {}, idempotency_key=key)
    assert client.with_options(idempotency_key=key).workflows.trigger(workflow, {}) == first
    assert client.workflows.trigger(workflow, {}) != first
    client.sessions.cancel_many({"workflow": workflow})


def test_schedules_webhooks_and_keys(client: Client) -> None:
    workflow = name("timed")
    client.workflows.apply({"id": workflow, **APPROVAL})
    schedule = client.schedules.apply({"id": workflow, "workflowId": workflow, "cron": "0 3 * * *"})
    assert client.schedules.pause(schedule.id).status == "paused"
    assert client.schedules.resume(schedule.id).status == "active"
    assert client.schedules.trigger(schedule.id).outcome == "started"
    assert client.schedules.update(schedule.id, {"cron": "0 4 * * *"}).cron == "0 4 * * *"
    now = datetime.now(timezone.utc)
    assert client.schedules.backfill(schedule.id, now - timedelta(days=1), now, overlap="allowAll")
    assert client.schedules.runs(schedule.id)
    assert client.schedules.get(schedule.id).workflow_id == workflow
    assert schedule.id in [one.id for one in client.schedules.iterate()]
    client.schedules.delete(schedule.id)

    webhook = client.webhooks.create({"id": workflow, "workflowId": workflow})
    assert client.webhooks.rotate(webhook.id, keep_earlier_for="1h").id == webhook.id
    assert client.webhooks.get(webhook.id).raw.get("secret") is None
    client.webhooks.delete(webhook.id)

    key = client.keys.create(name("key"), "read", expires_in="1d")
    assert key.key is not None
    reader = Client(client.url, key.key)
    with pytest.raises(errors.PermissionDenied):
        reader.workflows.delete(workflow)
    assert client.keys.rotate(key.key_id).key != key.key
    client.keys.revoke(key.key_id)
    client.sessions.cancel_many({"workflow": workflow})


def test_tenants(server: Server) -> None:
    platform = Client(server.url, PLATFORM_KEY)
    made = platform.tenants.create(name("tenant"))
    theirs = Client(server.url, made.api_key)
    assert list(theirs.agents.list()) == []
    assert theirs.tenants.usage(days=1).tenant_id == made.tenant_id
    assert platform.tenants.get(made.tenant_id).tenant_id == made.tenant_id
    assert made.tenant_id in [one.tenant_id for one in platform.tenants.iterate()]
    platform.tenants.remove(made.tenant_id)


def test_channels_and_messages(client: Client) -> None:
    channel = client.channels.create(name("orders").replace("-", "."))
    assert client.channels.publish(channel.channel_id, {"n": 1}).sequence == 1
    assert client.channels.publish(channel.channel_id, {"n": 2}).sequence == 2
    assert [one.payload for one in client.channels.history(channel.channel_id, after=1)] == [{"n": 2}]
    assert list(client.channels.presence(channel.channel_id).agents) == []
    client.channels.delete(channel.channel_id)

    agent_id = client.agents.register(name("nowhere"), contact_endpoint="http://127.0.0.1:9/")
    message = client.agents.send(agent_id, "greeting", {"text": "hello"}, sender_id="me")
    assert client.agents.message(message).agent_id == agent_id
    assert client.dead_letters.list(agent=agent_id) is not None
    assert client.dead_letters.redrive_many(agent=agent_id).redriven == 0
    assert client.dead_letters.drop_many(agent=agent_id) is not None
    client.agents.remove(agent_id)


def test_tools_are_taken_over(client: Client) -> None:
    tool = name("tool")
    client.tools.register(tool, "http://127.0.0.1:9/one")
    assert client.tools.register(tool, "http://127.0.0.1:9/two").endpoint == "http://127.0.0.1:9/two"
    with pytest.raises(errors.Conflict):
        client.tools.register(tool, "http://127.0.0.1:9/one", replace=False)
    assert tool in [one.name for one in client.tools.iterate()]
    client.tools.remove(tool)


def test_health_and_any_other_call(client: Client) -> None:
    assert client.health()
    client.ready()
    assert "data" in client.request("GET", "v1", "opscore", "sessions", query={"limit": 1})


def test_the_asynchronous_client_has_the_same_calls(server: Server) -> None:
    async def program() -> None:
        async with AsyncClient(server.url, server.key) as client:
            workflow = name("async")
            await client.workflows.apply({"id": workflow, **APPROVAL})
            sessions = await asyncio.gather(*[client.workflows.trigger(workflow) for _ in range(8)])
            assert len(set(sessions)) == 8
            found = [one.session_id async for one in client.sessions.iterate(workflow=workflow)]
            assert set(found) == set(sessions)
            first = client.sessions.follow(sessions[0])
            assert (await first.__anext__()).sequence == 1
            await client.sessions.cancel_many({"workflow": workflow})
            assert [event.type async for event in first][-1] == "session.cancelled"
            with pytest.raises(errors.NotFound):
                await client.sessions.get("ses_nothing")

    asyncio.run(program())


def test_both_clients_have_the_same_methods() -> None:
    import inspect

    for group in ("agents", "tools", "workflows", "sessions", "schedules", "channels", "keys"):
        one, other = Client("http://127.0.0.1:9"), AsyncClient("http://127.0.0.1:9")
        methods = [
            {n: inspect.signature(m) for n, m in inspect.getmembers(getattr(each, group), inspect.ismethod) if n[0] != "_"}
            for each in (one, other)
        ]
        assert methods[0].keys() == methods[1].keys()
        for method, signature in methods[0].items():
            assert list(signature.parameters) == list(methods[1][method].parameters), method


class Flaky(BaseHTTPRequestHandler):
    """Answers what it is told to, and remembers what it was asked."""

    answers: list[tuple[int, dict[str, str]]] = []
    asked: list[dict[str, str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.asked.append(dict(self.headers.items()))
        status, headers = self.answers.pop(0)
        body = json.dumps({"type": "x", "title": "No", "status": status, "detail": "not now", "sessionId": "s",
                           "workflowId": "w", "message": "m"}).encode()
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture()
def flaky() -> Iterator[str]:
    Flaky.answers, Flaky.asked = [], []
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_fails_for_a_moment_is_sent_again_under_one_key(flaky: str) -> None:
    Flaky.answers = [(503, {"retry-after": "1"}), (429, {"retry-after": "0"}), (202, {})]
    began = time.monotonic()
    assert Client(flaky).workflows.trigger("w") == "s"
    assert time.monotonic() - began >= 1.0, "Retry-After was not waited for"
    keys = [headers["idempotency-key"] for headers in Flaky.asked]
    assert len(keys) == 3 and len(set(keys)) == 1


def test_attempts_are_bounded(flaky: str) -> None:
    Flaky.answers = [(503, {})] * 5
    with pytest.raises(errors.ServerError, match="not now") as told:
        Client(flaky, attempts=1).workflows.trigger("w")
    assert told.value.status_code == 503 and len(Flaky.asked) == 1


def test_who_is_not_there_is_named() -> None:
    with pytest.raises(errors.ServerUnreachable, match="http://127.0.0.1:9/"):
        Client("http://127.0.0.1:9", attempts=1).health()
    with pytest.raises(errors.ConfigurationError, match="write it as http://localhost:8000"):
        Client("localhost:8000")
    assert issubclass(errors.ConfigurationError, AgentKitError)


def test_a_deadline_holds() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(errors.ServerTimeout):
            Client(url, attempts=1, timeout=0.2).health()

        async def cancelled() -> None:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(AsyncClient(url).health(), 0.1)

        asyncio.run(cancelled())
        assert not _transport._completions()._waiting, "a call that nobody waits for is remembered"


WAITING = """
import socket
from agentkit import Client
silent = socket.create_server(("127.0.0.1", 0))
print("waiting", flush=True)
Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=600, attempts=1).health()
"""


def test_ctrl_c_ends_a_call(programs: Callable[..., Program]) -> None:
    program = programs(WAITING)
    program.line("waiting")
    program.process.send_signal(signal.SIGINT)
    assert program.ends() != 0
    assert program.lines[-1] == "KeyboardInterrupt"


def test_wrong_credentials(server: Server) -> None:
    with pytest.raises(errors.AuthenticationError):
        Client(server.url, "wrong").sessions.list()


def test_a_forked_process_is_told_to_make_its_own(client: Client) -> None:
    import os

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client.health()
        except errors.ConfigurationError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    told = os.read(reader, 1000).decode()
    os.close(reader)
    assert "forked" in told and "make one in each process" in told


def test_the_log_is_followed(server: Server, client: Client) -> None:
    its_name = name("writer")
    agent_id = client.agents.register(its_name, ["write"])

    def write(*lines: str) -> None:
        client.agents.log(agent_id, [{"level": "warning", "message": line} for line in lines])

    write("before")
    (before,) = client.logs.list(agent=agent_id, text="before")
    seen: queue.Queue[LogView] = queue.Queue()

    def follow() -> None:
        for line in client.logs.follow(agent=agent_id, level="warning", after=before.sequence):
            seen.put(line)

    threading.Thread(target=follow, daemon=True).start()
    write("one", "two")
    lines = [seen.get(timeout=DEADLINE) for _ in range(2)]
    assert [line.message for line in lines] == ["one", "two"]
    assert lines[0].sequence > before.sequence and isinstance(lines[0].timestamp, datetime)

    async def follow_async() -> list[str]:
        messages = []
        async with AsyncClient(server.url, server.key) as other:
            stream = other.logs.follow(agent=agent_id, since=before.timestamp, level="warning")
            async for line in stream:
                messages.append(line.message)
                if len(messages) == 3:
                    write("three")
                if len(messages) == 4:
                    return messages
        raise AssertionError("the log ended")

    assert asyncio.run(asyncio.wait_for(follow_async(), DEADLINE)) == ["before", "one", "two", "three"]
    with pytest.raises(errors.InvalidRequest):
        next(iter(client.logs.follow(level="loud")))


def test_a_gap_in_the_log_is_an_entry() -> None:
    gap = LogView.from_json(entry_of({"type": "gap", "from": 3, "to": 6, "message": "gone"}))
    assert (gap.sequence, gap.level, gap.message, gap.raw["from"]) == (6, "warning", "gone", 3)
    entry = {"sequence": 1, "message": "m", "level": "info", "timestamp": "2026-01-31T12:00:00Z"}
    assert entry_of(entry) is entry


def test_a_platform_key_acts_in_a_tenant(server: Server) -> None:
    platform = Client(server.url, PLATFORM_KEY)
    tenant = platform.tenants.create(name("acme")).tenant_id
    its_name = name("theirs")
    theirs = Client(server.url, PLATFORM_KEY, tenant=tenant)
    theirs.agents.register(its_name, ["work"])
    assert [agent.agent_name for agent in theirs.with_options(timeout=5).agents.iterate()] == [its_name]
    assert its_name not in [agent.agent_name for agent in platform.agents.iterate()]

    async def also_awaited() -> int:
        async with AsyncClient(server.url, PLATFORM_KEY, tenant=tenant) as client:
            return len(await client.agents.list())

    assert asyncio.run(also_awaited()) == 1
    with pytest.raises(errors.ConfigurationError, match="tenant"):
        Client(server.url, PLATFORM_KEY, tenant="no\nheader")
