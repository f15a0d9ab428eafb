"""The runtime of an agent, over HTTP and over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Callable

import pytest
from agents import Serving
from conftest import DEADLINE, Program, Server, start_server, until

import agentkit
from agentkit import Agent, Context, Failure, _threads, current
from agentkit.models import SessionView

BOTH = pytest.mark.parametrize("connect", ["http", "websocket"])


def name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def make(server: Server, prefix: str, **more: Any) -> Agent:
    return Agent(name(prefix), url=server.url, api_key=server.key, heartbeat=0.5, **more)


def one_task(agent: Agent, task: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name(task),
        "name": task,
        "tasks": [{"taskId": task, "agentId": agent.agent_id, "maxRetries": 0, **more}],
    }


def run(client: agentkit.Client, agent: Agent, task: str, parameters: Any, **more: Any) -> SessionView:
    """Runs a workflow of one task to its end."""
    session = client.workflows.trigger(one_task(agent, task, parameters=parameters, **more))
    return client.sessions.wait(session)


def triggered_under(server: Server, workflow: dict[str, Any], traceparent: str) -> str:
    """Starts a session in a trace of the caller's, and answers its id."""
    path = f"/v1/opscore/agent/{workflow['tasks'][0]['agentId']}/workflow"
    request = urllib.request.Request(server.url + path, json.dumps({"workflowDefinition": workflow}).encode())
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {server.key}")
    request.add_header("traceparent", traceparent)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return str(json.load(answer)["sessionId"])


@BOTH
def test_a_task_is_done(server: Server, client: agentkit.Client, connect: str) -> None:
    agent = make(server, "doer", connect=connect, concurrency=2)
    threads: list[str] = []

    @agent.task("shout")
    def shout(text: str, times: int = 1) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return {"text": text.upper() * times}

    @agent.task()
    async def whisper(text: str, ctx: Context) -> Any:
        await asyncio.sleep(0)
        found = current()
        assert found is ctx
        return {"text": text.lower(), "attempt": ctx.call.attempt, "session": ctx.call.session_id}

    with Serving(agent):
        assert agent.agent_id is not None
        assert sorted(str(one) for one in client.agents.get(agent.agent_id).capabilities) == ["shout", "whisper"]
        done = run(client, agent, "shout", {"text": "a", "times": 2})
        assert (done.status, done.result) == ("completed", {"text": "AA"})
        done = run(client, agent, "whisper", {"text": "B"})
        assert done.result == {"text": "b", "attempt": 1, "session": done.session_id}
    assert threads and threads[0].startswith(agent.name)
    assert (agent.endpoint is None) == (connect == "websocket")


@BOTH
def test_a_long_task_reports_by_itself(server: Server, client: agentkit.Client, connect: str) -> None:
    agent = make(server, "long", connect=connect)
    go_on = threading.Event()

    @agent.task("work")
    def work(ctx: Context) -> str:
        ctx.progress(40, "halfway, nearly")
        assert go_on.wait(DEADLINE)
        return "done"

    with Serving(agent):
        session = client.workflows.trigger(one_task(agent, "work"))
        until(lambda: client.sessions.get(session).tasks[0].status == "running")  # type: ignore[index]
        until(lambda: "40" in str(client.sessions.get(session).tasks[0].progress))  # type: ignore[index]
        go_on.set()
        done = client.sessions.wait(session)
    assert (done.status, done.result) == ("completed", "done")


@BOTH
def test_failures_say_why(server: Server, client: agentkit.Client, connect: str) -> None:
    agent = make(server, "failing", connect=connect)

    @agent.task("code")
    def code() -> None:
        raise Failure("the card was refused", code="refused", details={"bank": "x"})

    @agent.task("raises")
    async def raises(n: int) -> None:
        raise ValueError("n is no good")

    @agent.task("nonsense")
    def nonsense() -> Any:
        return object()

    tries: list[int] = []

    @agent.task("again")
    def again(ctx: Context) -> str:
        tries.append(ctx.call.attempt)
        if len(tries) == 1:
            raise Failure("not yet", code="rate_limited")
        return "now"

    with Serving(agent):
        assert "the card was refused" in str(run(client, agent, "code", {}).error)
        assert "ValueError: n is no good" in str(run(client, agent, "raises", {"n": 1}).error)
        assert "lacks 'n'" in str(run(client, agent, "raises", {}).error)
        assert "object is no JSON" in str(run(client, agent, "nonsense", {}).error)
        assert "no handler for the task 'other'" in str(run(client, agent, "other", {}).error)
        cure = "add `name: again` (or another of these) to the task in the workflow, or a handler 'other' or '*'"
        assert cure in str(run(client, agent, "other", {}).error)
        done = run(client, agent, "again", {}, maxRetries=1, retry={"initial": "10ms", "retryOn": ["rate_limited"]})
        assert (done.status, done.result, len(tries)) == ("completed", "now", 2)
        tries.clear()
        done = run(client, agent, "again", {}, maxRetries=1, retry={"initial": "10ms", "retryOn": ["other"]})
        assert (done.status, len(tries)) == ("failed", 1), "a code that is not retried on was retried"


@BOTH
def test_a_result_of_up_to_a_megabyte_is_taken_and_a_larger_one_says_why(
    server: Server, client: agentkit.Client, connect: str
) -> None:
    agent = make(server, "large", connect=connect)
    agent.task("large")(lambda size: "x" * size)
    with Serving(agent):
        done = run(client, agent, "large", {"size": 900_000})
        assert done.status == "completed", done.error
        refused = run(client, agent, "large", {"size": 2_000_000})
    assert refused.status == "failed" and "the task's result was refused" in str(refused.error)


@BOTH
def test_a_cancelled_task_cancels_its_handler(server: Server, client: agentkit.Client, connect: str) -> None:
    agent = make(server, "cancelled", connect=connect, concurrency=2)
    begun, ended = threading.Event(), threading.Event()
    told: list[str] = []

    @agent.task("asynchronous")
    async def asynchronous() -> None:
        begun.set()
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            told.append("cancelled")
            ended.set()
            raise

    @agent.task("plain")
    def plain(ctx: Context) -> None:
        begun.set()
        until(lambda: ctx.cancelled)
        told.append("seen")
        ended.set()
        ctx.check()

    with Serving(agent):
        for task in ("asynchronous", "plain"):
            begun.clear()
            ended.clear()
            session = client.workflows.trigger(one_task(agent, task))
            assert begun.wait(DEADLINE)
            client.sessions.cancel(session, "not needed")
            assert ended.wait(DEADLINE), f"the {task} handler was not told"
            assert client.sessions.get(session).status == "cancelled"
    assert told == ["cancelled", "seen"]


@BOTH
def test_a_cancelled_handler_that_goes_on_keeps_its_place_and_the_session_ends_at_once(
    server: Server,
    client: agentkit.Client,
    connect: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_threads, "OVERDUE_AFTER", 0.1)
    agent = make(server, "deaf", connect=connect)
    begun, release = threading.Event(), threading.Event()

    @agent.task("deaf")
    def deaf() -> None:
        begun.set()
        assert release.wait(2 * DEADLINE)

    @agent.task("next")
    def after() -> bool:
        return release.is_set()

    with Serving(agent):
        session = client.workflows.trigger(one_task(agent, "deaf"))
        try:
            assert begun.wait(DEADLINE)
            assert client.sessions.cancel(session, "not needed").status == "cancelled"
            following = client.workflows.trigger(one_task(agent, "next"))
            # It is given to the agent, since the cancelled one is settled, and waits there for the place.
            until(lambda: client.sessions.get(following).tasks[0].status == "running")  # type: ignore[index]
            until(lambda: "still runs" in caplog.text)
        finally:
            release.set()
        done = client.sessions.wait(following)
    assert (done.status, done.result) == ("completed", True)


def test_a_repeat_is_answered_and_not_run_again(server: Server, client: agentkit.Client) -> None:
    agent = make(server, "repeated")
    runs: list[Any] = []

    @agent.message("greeting")
    def greeting(text: str) -> None:
        runs.append(text)

    @agent.task("add")
    def add(a: int) -> int:
        runs.append(a)
        return a + 1

    def post(body: dict[str, Any], message_id: str) -> Any:
        assert agent.endpoint is not None
        request = urllib.request.Request(agent.endpoint, json.dumps(body).encode(), method="POST")
        request.add_header("content-type", "application/json")
        request.add_header("x-message-id", message_id)
        request.add_header("x-accepts-report", "true")
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.load(answer)

    with Serving(agent):
        greet = {"messageType": "greeting", "senderId": "me", "payload": {"text": "hello"}}
        for _ in range(3):
            post(greet, "msg_1")
        until(lambda: runs)
        post({**greet, "payload": {"text": "again"}}, "msg_2")
        until(lambda: len(runs) == 2)
        assert runs == ["hello", "again"]


@BOTH
def test_messages_by_type(server: Server, client: agentkit.Client, connect: str) -> None:
    agent = make(server, "messaged", connect=connect)
    came: list[Any] = []

    @agent.message("greeting")
    def greeting(text: str, ctx: Context) -> None:
        came.append((text, ctx.call.sender))

    @agent.message("*")
    async def rest(payload: dict[str, Any], ctx: Context) -> None:
        came.append((ctx.call.name, payload))

    with Serving(agent):
        assert agent.agent_id is not None
        client.agents.send(agent.agent_id, "greeting", {"text": "hello"}, sender_id="me")
        client.agents.send(agent.agent_id, "other", {"n": 1})
        until(lambda: len(came) == 2)
    assert sorted(map(str, came)) == sorted(map(str, [("hello", "me"), ("other", {"n": 1})]))


def test_commands_and_channels(server: Server, client: agentkit.Client) -> None:
    agent = make(server, "connected", connect="websocket")
    subject = name("orders").replace("-", ".")
    channel = client.channels.create(subject)
    client.channels.publish(channel.channel_id, {"n": 0})
    came: list[Any] = []

    @agent.command("reboot")
    async def reboot(when: str) -> dict[str, str]:
        return {"rebooted": when}

    @agent.command("fail")
    def fail() -> None:
        raise Failure("no", code="unwilling")

    @agent.subscribe(subject, after=0)
    def order(n: int, ctx: Context) -> None:
        came.append((n, ctx.call.name, ctx.call.sequence))

    @agent.command("tell")
    async def tell(n: int) -> Any:
        return await agent.publish(subject, {"n": n})

    with Serving(agent):
        assert agent.agent_id is not None
        assert client.commands.run(agent.agent_id, "reboot", {"when": "now"}).result == {"rebooted": "now"}
        failed = client.commands.run(agent.agent_id, "fail")
        assert failed.status == "error" and "no" in str(failed.error)
        until(lambda: came == [(0, subject, 1)])
        assert client.commands.run(agent.agent_id, "tell", {"n": 1}).result == 2
        until(lambda: len(client.channels.history(channel.channel_id)) == 2)


def test_agents_ask_each_other(server: Server, client: agentkit.Client) -> None:
    asked, asks = make(server, "asked", connect="websocket"), make(server, "asks", connect="websocket")

    @asked.request()
    def double(n: int) -> int:
        return 2 * n

    @asks.task("ask")
    async def ask(n: int) -> Any:
        assert asked.agent_id is not None
        return await asks.ask(asked.agent_id, {"n": n})

    with Serving(asked), Serving(asks):
        assert run(client, asks, "ask", {"n": 21}).result == 42


@pytest.mark.parametrize("timeout", [1e6, 1.8e19])
def test_a_timeout_without_measure_is_no_end(server: Server, client: agentkit.Client, timeout: float) -> None:
    asked, asks = make(server, "asked", connect="websocket"), make(server, "asks", connect="websocket")

    @asked.request()
    def double(n: int) -> int:
        return 2 * n

    @asks.task("ask")
    async def ask(n: int) -> Any:
        assert asked.agent_id is not None
        return await asks.ask(asked.agent_id, {"n": n}, timeout=timeout)

    with Serving(asked), Serving(asks):
        assert run(client, asks, "ask", {"n": 21}).result == 42


@BOTH
def test_a_second_process_takes_over_and_the_first_says_so(
    server: Server, client: agentkit.Client, connect: str
) -> None:
    first = make(server, "twice", connect=connect)
    second = Agent(first.name, url=server.url, api_key=server.key, connect=connect, heartbeat=0.5)
    for agent in (first, second):
        agent.task("work")(lambda: "done")
    serving = Serving(first)
    with pytest.raises(agentkit.AgentKitError, match="is over: another process .* a name of its own"):
        with serving:
            with Serving(second):
                assert second.agent_id == first.agent_id
                until(lambda: first._running is None)
                assert run(client, second, "work", {}).result == "done"


def test_two_workers_share_the_tasks_of_a_capability(server: Server, client: agentkit.Client) -> None:
    both = threading.Barrier(2)
    workers = [make(server, f"worker-{number}", capabilities=["share"]) for number in range(2)]
    for worker in workers:

        @worker.task("share")
        def share(ctx: Context) -> None:
            both.wait(DEADLINE)

    tasks = [{"taskId": "share", "agentCapability": "share", "forEach": "input.parts", "maxRetries": 0}]
    with Serving(workers[0]), Serving(workers[1]):
        workflow = {"id": name("share"), "name": "Share", "tasks": tasks}
        assert client.sessions.wait(client.workflows.trigger(workflow, {"parts": [1, 2]})).status == "completed"


def test_a_removed_agent_says_so(server: Server, client: agentkit.Client) -> None:
    agent = make(server, "removed")
    agent.task("work")(lambda: "done")
    with pytest.raises(agentkit.AgentKitError, match="was removed"):
        with Serving(agent):
            assert agent.agent_id is not None
            client.agents.remove(agent.agent_id)
            until(lambda: agent._running is None)


def test_concurrency_is_bounded(server: Server, client: agentkit.Client) -> None:
    agent = make(server, "bounded", concurrency=2)
    together = threading.Barrier(2)
    at_once: list[int] = []
    now = 0
    lock = threading.Lock()

    @agent.task("work")
    def work() -> None:
        nonlocal now
        with lock:
            now += 1
            at_once.append(now)
        together.wait(DEADLINE)
        with lock:
            now -= 1

    with Serving(agent):
        sessions = [client.workflows.trigger(one_task(agent, "work")) for _ in range(4)]
        assert {client.sessions.wait(session).status for session in sessions} == {"completed"}
    assert max(at_once) == 2


@BOTH
def test_logs_go_to_opscore_with_task_and_trace(server: Server, client: agentkit.Client, connect: str) -> None:
    agent = make(server, "logging", connect=connect)
    log = logging.getLogger("my.agent")
    log.setLevel(logging.INFO)

    @agent.task("work")
    def work(ctx: Context) -> None:
        log.info("half of %d done", 10, extra={"half": 5})
        ctx.log("by hand", "warning", n=1)
        try:
            raise ValueError("inside")
        except ValueError:
            log.exception("went wrong")

    with Serving(agent):
        log.info("outside of a handler")
        trace = uuid.uuid4().hex
        session = triggered_under(server, one_task(agent, "work"), f"00-{trace}-{trace[:16]}-01")
        done = client.sessions.wait(session)
        messages = {"half of 10 done", "by hand", "went wrong"}

        def found() -> Any:
            entries = {entry.message: entry for entry in client.logs.iterate(session=done.session_id)}
            return entries if messages <= set(entries) else None

        entries = until(found)
        half, by_hand, wrong = entries["half of 10 done"], entries["by hand"], entries["went wrong"]
        assert (half.level, half.fields["half"], half.fields["logger"]) == ("info", 5, "my.agent")
        assert half.agent_id == agent.agent_id and half.task_id
        assert (half.trace_id, wrong.trace_id) == (trace, trace)
        assert (by_hand.level, by_hand.fields["n"]) == ("warning", 1)
        assert "ValueError: inside" in wrong.fields["traceback"]
        assert not client.logs.list(text="outside of a handler")


def test_tools_are_served_and_registered(server: Server, client: agentkit.Client) -> None:
    agent = make(server, "toolsmith")
    tool = name("add").replace("-", "_")

    @agentkit.tool(name=tool)
    def add(a: float, b: float) -> float:
        """Adds two numbers."""
        if a < 0:
            raise Failure("negative")
        return a + b

    agent.tool(add)
    assert add(1, 2) == 3
    with Serving(agent):
        assert agent.agent_id is not None
        kept = client.tools.get(tool)
        assert (kept.description, kept.parameters) == ("Adds two numbers.", add.parameters)
        assert client.agents.call_tool(agent.agent_id, tool, {"a": 1, "b": 2}).data == 3
        failed = client.agents.call_tool(agent.agent_id, tool, {"a": -1, "b": 2})
        assert (failed.status, failed.error_message) == ("error", "negative")
        with pytest.raises(agentkit.errors.InvalidRequest):
            client.agents.call_tool(agent.agent_id, tool, {"a": "one"})


def ssh_key(folder: Path) -> Path:
    path = folder / "agent_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def test_an_ssh_key_signs_in(server: Server, client: agentkit.Client, tmp_path: Path) -> None:
    path = ssh_key(tmp_path)
    agent_id = client.agents.create(name("keyed"), capabilities=["work"])
    client.ssh_keys.add("laptop", path.with_suffix(".pub").read_text(), agent_id=agent_id)
    agent = Agent("keyed", url=server.url, connect="websocket", heartbeat=0.5, ssh_key=str(path), agent_id=agent_id)

    @agent.task("work")
    def work() -> str:
        return "signed in"

    with Serving(agent):
        assert run(client, agent, "work", {}).result == "signed in"
        assert client.agents.get(agent_id).presence == "connected"


HOLDER = """
import ctypes, logging
from agentkit import Agent
logging.basicConfig(level=logging.INFO)
agent = Agent("NAME", connect="websocket", heartbeat=0.5)

@agent.task("hold")
def hold(seconds: float) -> str:
    print("holding", flush=True)
    # A function of PyDLL keeps the interpreter's lock: no other Python runs meanwhile.
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    return "held"

agent.run()
"""


def test_a_handler_that_holds_the_interpreter_does_not_go_offline(
    server: Server, client: agentkit.Client, programs: Callable[..., Program]
) -> None:
    """The server takes an agent for offline after three missed heartbeats, here three seconds."""
    its_name = name("holder")
    program = programs(HOLDER.replace("NAME", its_name))
    program.line("is registered as")
    (agent,) = client.agents.list(name=its_name)
    until(lambda: client.agents.get(agent.agent_id).presence == "connected")
    connected_since = client.agents.get(agent.agent_id).presence_since
    session = client.workflows.trigger(
        {
            "id": its_name,
            "name": "Hold",
            "tasks": [{"taskId": "hold", "agentId": agent.agent_id, "parameters": {"seconds": 5}, "maxRetries": 0}],
        }
    )
    program.line("holding")
    seen = set()
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and not (done := client.sessions.get(session)).ended_at:
        seen.add(client.agents.get(agent.agent_id).presence)
        time.sleep(0.1)
    assert done.status == "completed" and done.result == "held"
    assert seen == {"connected"}
    assert client.agents.get(agent.agent_id).presence_since == connected_since, "it was away in between"


DRAINER = """
import logging, threading
from agentkit import Agent
logging.basicConfig(level=logging.INFO)
agent = Agent("NAME", connect="CONNECT", heartbeat=0.5)
stops = threading.Event()

class Watch(logging.Handler):
    def emit(self, record):
        if "finishes what it has" in record.getMessage():
            stops.set()

logging.getLogger("agentkit.agent").addHandler(Watch())

@agent.task("slow")
def slow() -> str:
    print("begun", flush=True)
    # Still at work when it is told to end.
    assert stops.wait(60), "SIGTERM was not seen"
    return "finished all the same"

agent.run()
print("gone", flush=True)
"""


@BOTH
def test_sigterm_drains(
    server: Server, client: agentkit.Client, programs: Callable[..., Program], connect: str
) -> None:
    its_name = name("drainer")
    program = programs(DRAINER.replace("NAME", its_name).replace("CONNECT", connect))
    program.line("is registered as")
    (agent,) = client.agents.list(name=its_name)
    session = client.workflows.trigger(
        {"id": its_name, "name": "Slow", "tasks": [{"taskId": "slow", "agentId": agent.agent_id, "maxRetries": 0}]}
    )
    program.line("begun")
    program.terminate()
    done = client.sessions.wait(session)
    assert (done.status, done.result) == ("completed", "finished all the same")
    assert program.ends() == 0, program.text()
    assert "gone" in program.lines


STUCK = """
import logging, threading
from agentkit import Agent
agent = Agent("NAME", connect="CONNECT", heartbeat=0.5, drain=0.2)

@agent.task("stuck")
def stuck() -> None:
    print("begun", flush=True)
    threading.Event().wait()

agent.run()
print("gone", flush=True)
"""


@pytest.mark.parametrize("is_cancelled", [False, True])
@BOTH
def test_a_handler_that_never_ends_does_not_keep_the_process(
    server: Server, client: agentkit.Client, programs: Callable[..., Program], connect: str, is_cancelled: bool
) -> None:
    its_name = name("stuck")
    program = programs(STUCK.replace("NAME", its_name).replace("CONNECT", connect))
    program.line("is registered as")
    (agent,) = client.agents.list(name=its_name)
    session = client.workflows.trigger(
        {"id": its_name, "name": "Stuck", "tasks": [{"taskId": "stuck", "agentId": agent.agent_id, "maxRetries": 0}]}
    )
    program.line("begun")
    if is_cancelled:
        client.sessions.cancel(session, "not needed")
    program.terminate()
    assert program.ends() == 0, program.text()
    assert "gone" in program.lines


def test_a_handler_goes_on_telling_and_asking_while_the_agent_stops(server: Server, client: agentkit.Client) -> None:
    asked, asks = make(server, "asked", connect="websocket"), make(server, "asks", connect="websocket")
    subject = name("told").replace("-", ".")
    channel = client.channels.create(subject)
    stops, came = threading.Event(), threading.Event()

    @asked.request()
    def double(n: int) -> int:
        assert stops.wait(DEADLINE)
        return 2 * n

    @asked.message("told")
    def told() -> None:
        came.set()

    @asks.task("ask")
    async def ask() -> Any:
        assert asked.agent_id is not None and asks._running is not None
        before = asyncio.ensure_future(asks.ask(asked.agent_id, {"n": 21}))
        # The order is under way.
        await asyncio.sleep(0)
        asks.stop()
        while asks._running.stopping is None:
            await asyncio.sleep(0.01)
        stops.set()
        after = await asks.ask(asked.agent_id, {"n": 1})
        await asks.send(asked.agent_id, "told")
        return [await before, after, await asks.publish(subject, {"n": 2})]

    with Serving(asked), Serving(asks):
        done = run(client, asks, "ask", {})
        assert (done.status, done.result) == ("completed", [42, 2, 1])
        assert came.wait(DEADLINE)
        assert [kept.payload for kept in client.channels.history(channel.channel_id)] == [{"n": 2}]


def test_what_cannot_work_is_told_at_once(server: Server) -> None:
    with pytest.raises(agentkit.errors.ConfigurationError, match="neither"):
        Agent("x", connect="carrier pigeon")
    with pytest.raises(agentkit.errors.ConfigurationError, match="connect='websocket'"):
        Agent("x", ssh_key="key")
    agent = make(server, "nothing")
    with pytest.raises(agentkit.errors.ConfigurationError, match="has no handler"):
        asyncio.run(agent.serve())

    @agent.command("x")
    def x() -> None: ...

    with pytest.raises(agentkit.errors.ConfigurationError, match="comes over a connection"):
        asyncio.run(agent.serve())
    with pytest.raises(TypeError, match="with parentheses"):
        agent.task(lambda: None)  # type: ignore[arg-type]
    refused = Agent("x", url=server.url, api_key="not-a-key")
    refused.task("x")(lambda: None)
    with pytest.raises(agentkit.errors.AuthenticationError, match=f"{server.url} .* key of the argument api_key"):
        asyncio.run(refused.serve())


NAMELESS = """
from agentkit import Agent
agent = Agent("NAME", heartbeat=0.2, drain=20)

@agent.task("boom")
def boom() -> None:
    raise ValueError("boom")

@agent.task("hang")
def hang() -> None:
    import threading
    print("begun", flush=True)
    threading.Event().wait()

agent.run()
print("gone", flush=True)
"""


def test_an_agent_waits_for_its_server(tmp_path: Path, programs: Callable[..., Program]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    program = programs(NAMELESS.replace("NAME", name("early")), OPSCORE_API_URL=url)
    assert "trying again" in program.line(f"no server at {url} yet (")
    running = start_server(tmp_path, listen=f"127.0.0.1:{port}")
    try:
        program.line("is registered as")
        running.program.kill()
        program.line("lost the server")
        running = start_server(tmp_path, listen=f"127.0.0.1:{port}")
        program.line("back: the server is there again")
    finally:
        running.program.kill()
    program.terminate()
    assert program.ends() == 0, program.text()
    for once in ("no server at", "lost the server", "back: the server"):
        assert sum(once in line for line in program.lines) == 1, program.text()


def test_an_agent_that_waits_for_its_server_can_be_stopped(programs: Callable[..., Program]) -> None:
    program = programs(NAMELESS.replace("NAME", name("early")), OPSCORE_API_URL="http://127.0.0.1:9")
    program.line("no server at http://127.0.0.1:9 yet")
    program.process.send_signal(signal.SIGINT)
    assert program.ends() == 0, program.text()
    assert "Ctrl-C again to end at once" in program.text() and "has stopped" in program.text()
    assert "gone" in program.lines and "Traceback" not in program.text()


def test_a_wrong_key_is_named_in_a_line(server: Server, programs: Callable[..., Program]) -> None:
    program = programs(NAMELESS.replace("NAME", name("wrong")), SIGNALBOX_API_KEY="not-a-key")
    assert program.ends() == 1
    assert f"{server.url} does not take the key of SIGNALBOX_API_KEY" in program.text(), program.text()
    assert "Traceback" not in program.text()


def test_a_second_ctrl_c_ends_at_once_in_a_line(
    server: Server, client: agentkit.Client, programs: Callable[..., Program]
) -> None:
    its_name = name("hanging")
    program = programs(NAMELESS.replace("NAME", its_name))
    program.line("is registered as")
    (agent,) = client.agents.list(name=its_name)
    task = {"taskId": "hang", "agentId": agent.agent_id, "maxRetries": 0}
    client.workflows.trigger({"id": its_name, "name": "Hang", "tasks": [task]})
    program.line("begun")
    program.process.send_signal(signal.SIGINT)
    program.line("Ctrl-C again to end at once")
    program.process.send_signal(signal.SIGINT)
    assert program.ends() == -signal.SIGINT
    assert "ends at once" in program.lines[-1] and "Traceback" not in program.text(), program.text()


def test_the_exception_of_a_handler_is_logged_once(
    server: Server, client: agentkit.Client, programs: Callable[..., Program]
) -> None:
    its_name = name("boom")
    program = programs(NAMELESS.replace("NAME", its_name))
    program.line("is registered as")
    (agent,) = client.agents.list(name=its_name)
    task = {"taskId": "boom", "agentId": agent.agent_id, "maxRetries": 0}
    done = client.sessions.wait(client.workflows.trigger({"id": its_name, "name": "Boom", "tasks": [task]}))
    assert done.status == "failed" and str(done.error).count("ValueError: ") == 1, done.error
    program.terminate()
    assert program.ends() == 0
    assert program.text().count("ValueError: boom") == 1, program.text()
    assert " WARNING " not in program.text() and " ERROR " in program.text()


def test_a_message_without_a_handler_is_told_in_the_servers_log(server: Server, client: agentkit.Client) -> None:
    agent = make(server, "deaf")
    agent.task("work")(lambda: None)
    with Serving(agent):
        assert agent.agent_id is not None
        kind = name("gossip")
        sent = client.agents.send(agent.agent_id, kind, {}, sender_id="me")
        (line,) = until(lambda: list(client.logs.list(text=kind, level="error")))
        assert str(sent) in line.message and "no handler for the message" in line.message
