"""A real server for the tests, and programs of their own for agents.

`SIGNALBOX_BIN` names the server's binary; without it, that of the debug build is taken.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import pytest

import agentkit

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SIGNALBOX_BIN") or ROOT / "target" / "debug" / "signalbox")
KEY = "agentkit-test-key-5b0e1d7c9f2a4836"
PLATFORM_KEY = "agentkit-test-platform-key-1f3d5b79"
READY = "signalbox listening on "
DEADLINE = 30.0
"""Seconds in which anything that a test waits for must have come."""

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Program:
    """A process whose output is read line by line."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[Optional[str]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def line(self, text: str) -> str:
        """Waits for a line with a text in it."""
        for line in self.lines:
            if text in line:
                return line
        until = time.monotonic() + DEADLINE
        while True:
            try:
                line_or_end = self._queue.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} in {DEADLINE} s:\n{self.text()}") from None
            if line_or_end is None:
                raise AssertionError(f"the program ended without a line with {text!r}:\n{self.text()}")
            self.lines.append(line_or_end)
            if text in line_or_end:
                return line_or_end

    def text(self) -> str:
        return "\n".join(self.lines)

    def ends(self) -> int:
        """Waits for its end and answers its exit status."""
        status = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        while True:
            try:
                line = self._queue.get_nowait()
            except queue.Empty:
                return status
            if line is not None:
                self.lines.append(line)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)


class Server:
    """A running server."""

    def __init__(self, program: Program, url: str) -> None:
        self.program = program
        self.url = url
        self.key = KEY
        self.platform_key = PLATFORM_KEY

    @property
    def env(self) -> dict[str, str]:
        """The environment of a program that is to find it."""
        return {**clean(), "OPSCORE_API_URL": self.url, "OPSCORE_API_KEY": self.key}


def clean() -> dict[str, str]:
    """The environment without what points to a server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SIGNALBOX_", "OPSCORE_"))}


def start_server(folder: Path, *flags: str, listen: str = "127.0.0.1:0") -> Server:
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is missing: build it with `cargo build -p signalbox`, or name another in SIGNALBOX_BIN")
    env = {**clean(), "OPSCORE_API_KEY": KEY, "SIGNALBOX_PLATFORM_KEY": PLATFORM_KEY}
    command = [str(BINARY), "serve", "--listen", listen, "--data-dir", str(folder / "data"), *flags]
    program = Program(command, env)
    url = program.line(READY).split(READY)[1].split()[0]
    return Server(program, url)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that need nothing special of it. Connected agents are to say every second that they live."""
    running = start_server(tmp_path_factory.mktemp("server"), "--heartbeat-interval", "1s")
    yield running
    running.program.kill()


@pytest.fixture()
def client(server: Server) -> Iterator[agentkit.Client]:
    with agentkit.Client(server.url, server.key) as made:
        yield made


@pytest.fixture()
def programs(server: Server, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts Python programs, from their text or their file."""
    started: list[Program] = []

    def start(source: "str | Path", *args: str, **env: str) -> Program:
        if isinstance(source, str):
            path = tmp_path / f"program{len(started)}.py"
            path.write_text(source, "utf-8")
        else:
            path = source
        program = Program([sys.executable, "-u", str(path), *args], {**server.env, **env})
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()


def until(what: Callable[[], Any]) -> Any:
    """Waits until something is so, and answers it."""
    end = time.monotonic() + DEADLINE
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not so within {DEADLINE} s: {what}")
        time.sleep(0.02)
