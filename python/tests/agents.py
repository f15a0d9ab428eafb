"""An agent in a thread of its own, for tests that talk to it from outside."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Optional

from agentkit import Agent


class Serving:
    """Serves an agent while the test is inside."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._started = threading.Event()
        self._fault: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            asyncio.run(self.agent.serve(self._started.set))
        except BaseException as error:
            self._fault = error
        finally:
            self._started.set()

    def __enter__(self) -> Agent:
        self._thread.start()
        assert self._started.wait(30), "the agent did not start"
        if self._fault is not None:
            raise self._fault
        return self.agent

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.agent.stop()
        self._thread.join(40)
        assert not self._thread.is_alive(), "the agent did not stop"
        if self._fault is not None and error is None:
            raise self._fault
