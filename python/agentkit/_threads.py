"""`Threads`: where plain handlers run. A thread cannot be ended from outside, so one whose work is no longer wanted may go on for
ever: it must neither keep other work waiting for ever nor the process from ending.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from queue import SimpleQueue
from typing import Any, Callable, Optional

_log = logging.getLogger("agentkit.agent")

CANCELLED_GRACE = 5.0
"""Seconds in which a handler is to end once its work is no longer wanted. After that it goes on beside others."""
OVERDUE_MAX = 32
"""Threads that may go on like that; the next one is waited for."""


class _Job:
    """A function, and who waits for what comes of it."""

    def __init__(self, function: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.function = function
        self.future = future
        self.is_over = False
        self.is_overdue = False


class _Thread:
    """A thread that does one job after the other. As a daemon, it does not keep the process from ending."""

    def __init__(self, threads: Threads, name: str) -> None:
        self.jobs: SimpleQueue[Optional[_Job]] = SimpleQueue()
        threading.Thread(target=self._run, args=(threads,), name=name, daemon=True).start()

    def _run(self, threads: Threads) -> None:
        while True:
            job = self.jobs.get()
            if job is None:
                return
            result: Any = None
            error: Optional[BaseException] = None
            try:
                result = job.function()
            except StopIteration as stop:
                error = RuntimeError("the handler raised StopIteration")  # A future cannot have it.
                error.__cause__ = stop
            except BaseException as raised:
                error = raised
            try:
                threads.loop.call_soon_threadsafe(threads._end, self, job, result, error)
            except RuntimeError:
                return  # The loop is closed, and with it whoever waited.
            del job, result, error


class Threads:
    """So many threads for one event loop; all methods are for its thread."""

    def __init__(self, size: int, name: str) -> None:
        self.loop = asyncio.get_running_loop()
        self._size, self._name = size, name
        self._room = asyncio.Semaphore(size)
        self._threads: set[_Thread] = set()
        self._idle: list[_Thread] = []
        self._overdue = 0
        self._made = 0

    async def run(self, function: Callable[[], Any]) -> Any:
        """Runs a function in a thread, once one is free. Cancelled, it returns at once; the thread counts until it ends, or
        for a while."""
        await self._room.acquire()
        job = _Job(function, self.loop.create_future())
        try:
            thread = self._idle.pop() if self._idle else self._make()
        except BaseException:
            self._room.release()
            raise
        thread.jobs.put(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self.loop.call_later(CANCELLED_GRACE, self._leave, job)
            raise

    def close(self) -> None:
        """Ends the threads that have nothing to do, and the others after what they do. Waits for none."""
        for thread in self._threads:
            thread.jobs.put(None)
        self._idle.clear()

    def _make(self) -> _Thread:
        self._made += 1
        thread = _Thread(self, f"{self._name}_{self._made}")
        self._threads.add(thread)
        return thread

    def _end(self, thread: _Thread, job: _Job, result: Any, error: Optional[BaseException]) -> None:
        job.is_over = True
        if job.is_overdue:
            # Another thread has its place.
            self._overdue -= 1
            self._threads.discard(thread)
            thread.jobs.put(None)
        else:
            self._idle.append(thread)
            self._room.release()
        if job.future.done():
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _leave(self, job: _Job) -> None:
        """Gives the place of a job that is no longer wanted to others."""
        if job.is_over:
            return
        if self._overdue >= OVERDUE_MAX:
            self.loop.call_later(CANCELLED_GRACE, self._leave, job)
            return
        self._overdue += 1
        job.is_overdue = True
        _log.warning(
            "a handler goes on %g s after its work was cancelled, and no longer counts among the %d at once; "
            "call ctx.check() in it now and then",
            CANCELLED_GRACE,
            self._size,
        )
        self._room.release()
