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


def test_a_cancelled_function_keeps_its_place_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "CANCELLED_GRACE", 0.2)
    monkeypatch.setattr(_threads, "OVERDUE_MAX", 1)

    async def main() -> None:
        threads = Threads(1, "test")
        release = threading.Event()
        begun = asyncio.Event()

        def hold() -> None:
            threads.loop.call_soon_threadsafe(begun.set)
            assert release.wait(DEADLINE)

        async def cancelled() -> None:
            begun.clear()
            holding = asyncio.ensure_future(threads.run(hold))
            await begun.wait()
            holding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await holding

        await cancelled()
        before = threads.loop.time()
        assert await threads.run(lambda: "beside it") == "beside it"
        assert threads.loop.time() - before >= 0.1, "it did not wait for the one that was cancelled"
        # One goes on already: no second one loses its place.
        await cancelled()
        waiting = asyncio.ensure_future(threads.run(lambda: "after it"))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done
        release.set()
        assert await waiting == "after it"
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
