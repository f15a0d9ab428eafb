"""The native calls below the client."""

from __future__ import annotations

import socket
import threading

from conftest import DEADLINE

from agentkit import _native


def test_a_call_that_comes_to_no_end_is_told() -> None:
    """Whoever waits for it would wait for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = _native.Client(f"http://127.0.0.1:{silent.getsockname()[1]}")
        completions = _native.Completions()
        call = client.request("GET", ["v1", "agents"], [])
        call.submit(completions, 7)
        connection, _ = silent.accept()
        with connection:
            call.cancel()
            told: list[tuple[int, _native.Answer]] = []
            waiting = threading.Thread(target=lambda: told.extend(completions.next()), daemon=True)
            waiting.start()
            waiting.join(DEADLINE)
    ((token, answer),) = told
    assert token == 7 and answer.error is not None
    assert (answer.error.kind, answer.error.status) == ("lost", None)
    assert "without an answer" in answer.error.message
