"""Every example and every program of the READMEs, as a program of its own against a real server."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Callable

import pytest
from conftest import ROOT, Program, Server, until

import agentkit
from agentkit.errors import AgentKitError

EXAMPLES = ROOT / "examples" / "python"


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("connect", ["http", "websocket"])
def test_hello_agent(client: agentkit.Client, programs: Callable[..., Program], connect: str) -> None:
    program = programs(EXAMPLES / "hello_agent.py", connect)
    program.line("is registered as")
    client.workflows.apply((EXAMPLES / "hello.yaml").read_text("utf-8"))
    done = client.sessions.wait(client.workflows.trigger("hello", {"name": "Ada"}))
    assert done.result == {"text": "HELLO, ADA!"}
    program.terminate()
    assert program.ends() == 0


def test_the_opscore_aware_agent(client: agentkit.Client, programs: Callable[..., Program]) -> None:
    agent_id = programs(EXAMPLES / "opscore_aware_agent.py").line("registered as").split()[-1]
    count = {"taskId": "count", "agentCapability": "count_words", "parameters": {"text": "${input.text}"}, "maxRetries": 0}
    workflow = {"id": "aware", "name": "Aware", "tasks": [count]}
    done = client.sessions.wait(client.workflows.trigger(workflow, {"text": "one two three"}))
    assert done.result == {"words": 3}
    failed = client.sessions.wait(client.workflows.trigger("aware", {"text": 7}))
    assert failed.status == "failed" and "AttributeError" in str(failed.error)
    assert {"active", "idle", "error"} <= {entry.state for entry in client.agents.history(agent_id)}


def test_the_artcafe_agent(
    server: Server, client: agentkit.Client, programs: Callable[..., Program], tmp_path: Path
) -> None:
    source = EXAMPLES / "artcafe_agent.py"
    assert len(source.read_text("utf-8").splitlines()) <= 40
    key = tmp_path / "agent_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", str(key)], check=True)
    agent_id = client.agents.create("artcafe-agent", capabilities=["execute_task"])
    client.ssh_keys.add("artcafe", key.with_suffix(".pub").read_text(), agent_id=agent_id)
    # It has the SSH key and no other.
    program = programs(source, agent_id, "default", str(key), server.url, OPSCORE_API_KEY="", OPSCORE_API_URL="")
    program.line("connected")
    assert client.commands.run(agent_id, "ping", {"n": 1}).result == {"pong": {"n": 1}}
    assert "is not known" in str(client.commands.run(agent_id, "dance").error)
    task = {"taskId": "paint", "agentId": agent_id, "parameters": {"colour": "red"}}
    done = client.sessions.wait(client.workflows.trigger({"id": "paint", "name": "Paint", "tasks": [task]}))
    assert done.result == {"task": "paint", "parameters": {"colour": "red"}}


def test_the_ten_line_agent_of_the_readme(client: agentkit.Client, programs: Callable[..., Program]) -> None:
    (source,) = [block for block in blocks(ROOT / "README.md", "python") if 'Agent("shouter")' in block]
    assert source == next(block for block in blocks(ROOT / "python" / "README.md", "python") if "shouter" in block)
    assert len(source.splitlines()) == 10
    programs(source).line("is registered as")
    workflow = {"id": "shout", "name": "Shout", "tasks": [{"taskId": "shout", "agentCapability": "shout"}]}
    done = client.sessions.wait(client.workflows.trigger(workflow, {"text": "hello"}))
    assert done.result == {"text": "HELLO"}


def test_the_other_blocks_of_the_packages_readme(
    server: Server, client: agentkit.Client, programs: Callable[..., Program]
) -> None:
    """Agents are started; all other programs run to their end."""
    for number, block in enumerate(blocks(ROOT / "python" / "README.md", "python")):
        program = programs(block)
        if "agent.run()" in block:
            program.line("is registered as")
        else:
            assert program.ends() == 0, f"block {number}:\n{block}\n{program.text()}"


def test_errors_are_importable_from_both_places() -> None:
    from agentkit.sdk.client import AgentKitError as of_the_sdk

    assert of_the_sdk is AgentKitError and until(lambda: True)
