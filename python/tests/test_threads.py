"""The threads of plain handlers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from conftest import DEADLINE

from agentkit import _threads
from agentkit._threads import Threads


def test_results_and_exceptions_come_back() -> None:
    async def main() -> None:
        threads = Threads(2, "test")
        assert await threads.run(lambda: 1) == 1
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await threads.run(lambda: next(iter([])))
        threads.close()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_a_thread_is_used_again_and_ends() -> None:
    async def main() -> list[threading.Thread]:
        threads = Threads(1, "test")
        used = [await threads.run(threading.current_thread) for _ in range(3)]
        threads.close()
        return used

    used = asyncio.run(asyncio.wait_for(main(), DEADLINE))
    assert len(set(used)) == 1
    used[0].join(DEADLINE)
    assert not used[0].is_alive() and used[0].daemon


def test_a_cancelled_function_keeps_its_place_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_threads, "OVERDUE_AFTER", 0.05)
    monkeypatch.setattr(_threads, "OVERDUE_AGAIN", 0.05)

    async def main() -> None:
        threads = Threads(1, "test")
        release = threading.Event()
        begun = asyncio.Event()

        def hold() -> None:
            threads.loop.call_soon_threadsafe(begun.set)
            assert release.wait(DEADLINE)

        holding = asyncio.ensure_future(threads.run(hold))
        await begun.wait()
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        waiting = asyncio.ensure_future(threads.run(release.is_set))
        while caplog.text.count("still runs") < 2:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        release.set()
        assert await waiting, "it ran beside the one that was cancelled"
        threads.close()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_what_waits_for_a_thread_can_be_cancelled() -> None:
    async def main() -> Any:
        threads = Threads(1, "test")
        release = threading.Event()
        holding = asyncio.ensure_future(threads.run(lambda: release.wait(DEADLINE)))
        waiting = asyncio.ensure_future(threads.run(lambda: pytest.fail("it was cancelled")))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()
        assert await holding
        assert await threads.run(lambda: "free") == "free"
        threads.close()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))
