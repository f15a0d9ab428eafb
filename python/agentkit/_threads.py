"""`Threads`: where plain handlers run. A thread cannot be ended from outside, so one whose work is no longer wanted may go on for
a while. It keeps its place until it has ended: more than the agreed number would run beside each other otherwise, on what
they share. It does not keep the process from ending, and that it goes on is told in the log.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from queue import SimpleQueue
from typing import Any, Callable, Optional

_log = logging.getLogger("agentkit.agent")

OVERDUE_AFTER = 5.0
"""Seconds in which a handler is to end once its work is no longer wanted. After that the log says that it goes on."""
OVERDUE_AGAIN = 60.0
"""Seconds after which the log says so again."""


class _Job:
    """A function, and who waits for what comes of it."""

    def __init__(self, function: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.function = function
        self.future = future
        self.is_over = False
        self.cancelled_at: Optional[float] = None


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
        self._made = 0

    async def run(self, function: Callable[[], Any]) -> Any:
        """Runs a function in a thread, once one is free. Cancelled, it returns at once; the thread counts until it ends."""
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
            job.cancelled_at = self.loop.time()
            self.loop.call_later(OVERDUE_AFTER, self._tell_overdue, job)
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
        self._idle.append(thread)
        self._room.release()
        if job.future.done():
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _tell_overdue(self, job: _Job) -> None:
        """Tells that a job goes on which is no longer wanted, now and then until it ends."""
        if job.is_over or job.cancelled_at is None:
            return
        _log.warning(
            "a handler still runs %g s after its work was cancelled; its place, one of %d, is free once it has ended. "
            "Call ctx.check() in it now and then",
            round(self.loop.time() - job.cancelled_at, 1),
            self._size,
        )
        self.loop.call_later(OVERDUE_AGAIN, self._tell_overdue, job)
