"""The server of tools, without a server of Signalbox."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator

import pytest
from conftest import DEADLINE, until

from agentkit import tools
from agentkit.tools import Tool, ToolServer


@contextmanager
def serving(*functions: Callable[..., Any]) -> Iterator[ToolServer]:
    made = [Tool(function) for function in functions]
    server = ToolServer({tool.name: tool for tool in made})
    try:
        yield server
    finally:
        closing = threading.Thread(target=server.close, daemon=True)
        closing.start()
        closing.join(DEADLINE)
        assert not closing.is_alive(), "the server of tools did not close"


def call(server: ToolServer, name: str, **arguments: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    try:
        connection.request("POST", f"/{name}", json.dumps({"arguments": arguments}))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def in_threads(count: int, function: Callable[[], Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=function, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_a_call_without_room_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "CALLS_MAX", 1)
    begun, release = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        assert release.wait(DEADLINE)
        return "held"

    with serving(hold) as server:
        answers: list[Any] = []
        (holding,) = in_threads(1, lambda: answers.append(call(server, "hold")))
        assert begun.wait(DEADLINE)
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as late:
            # Nothing of the call itself is sent.
            late.sendall(b"POST /hold HTTP/1.1\r\nhost: x\r\ncontent-length: 4194304\r\n\r\n")
            answer = late.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 503 ") and b"come again later" in answer
        # One that sends a large call gets the answer too.
        assert call(server, "hold", filler="x" * (tools.BODY_MAX - 100))[0] == 503
        release.set()
        holding.join(DEADLINE)
        assert answers == [(200, "held")]
        assert call(server, "hold") == (200, "held")


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "CONNECTIONS_MAX", 2, raising=False)
    now, most = 0, 0
    lock, more = threading.Lock(), threading.Event()

    def work() -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            if now > 2:
                more.set()
        more.wait(0.3)  # For one too many, which is not to come.
        with lock:
            now -= 1
        return "done"

    with serving(work) as server:
        answers: list[Any] = []
        for thread in in_threads(6, lambda: answers.append(call(server, "work"))):
            thread.join(DEADLINE)
        assert answers == [(200, "done")] * 6
    assert most == 2


def test_idle_connections_keep_out_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "CONNECTIONS_MAX", 4, raising=False)

    def work() -> str:
        return "done"

    with serving(work) as server:
        kept = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE) for _ in range(8)]
        for connection in kept:
            connection.request("POST", "/work", '{"arguments": {}}')
            assert connection.getresponse().read() == b'"done"'
        for connection in kept:
            connection.close()


def test_a_call_that_does_not_arrive_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "CALLS_MAX", 1)
    monkeypatch.setattr(tools, "ARRIVAL_TIMEOUT", 0.3)

    def work() -> str:
        return "done"

    with serving(work) as server:
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as slow:
            slow.sendall(b"POST /work HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            assert slow.recv(1) == b"", "it was answered"
        until(lambda: call(server, "work") == (200, "done"))


def test_a_server_without_room_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "CONNECTIONS_MAX", 1, raising=False)

    def work() -> str:
        return "done"

    with serving(work) as server:
        address = ("127.0.0.1", server.port)
        idle, waiting = socket.create_connection(address), socket.create_connection(address)
    with idle, waiting:
        pass
