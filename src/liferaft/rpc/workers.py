"""Runs the methods of a hosted object: as tasks, on worker threads, or on the loop itself.

It knows nothing of sessions and frames: a job goes in, its outcome comes out through `done`, on the
loop's thread, exactly once. Threads exist only once a blocking method was called, and never after
`stop`. A blocking method cannot be interrupted: it may look (`cancellation.cancelled`), its time
passes, and its result is dropped.
"""

import asyncio
import collections
import contextvars
from collections.abc import Callable
from concurrent import futures
from typing import Any, Final, TypeVar

import msgspec

from liferaft.errors import DeadlineExceeded, OutcomeUnknown
from liferaft.rpc import cancellation
from liferaft.rpc import deadline as ambient
from liferaft.rpc.buffers import CallFrame

ResultT = TypeVar("ResultT")

TOO_LATE: Final = "the time was up before the call was begun"

STOPPING: Final = "the host was stopped while the call was being executed"


class Job(msgspec.Struct, eq=False, weakref=True):
    """One method to run, and what becomes of its outcome: whoever has jobs derives from this.

    `is_begun` is False while something that stands before the method has not let it through.
    """

    function: Callable[[], Any]
    deadline: float | None
    handle: asyncio.Task[None] | futures.Future[None] | None = None
    interruption: BaseException | None = None
    is_begun: bool = True

    def encode(self, result: Any) -> CallFrame:
        """Turn the result into a frame, where the method ran; what it raises is the outcome.

        Whoever calls this keeps no reference to the result: see `buffers.encode_reply`.
        """
        raise NotImplementedError

    def done(self, outcome: CallFrame | BaseException) -> None:
        """Take the outcome, on the loop's thread."""
        raise NotImplementedError


class Workers:
    """Runs jobs: at most `threads` blocking ones at a time, or all in turn if `is_serial`."""

    def __init__(self, *, threads: int, is_serial: bool) -> None:
        self._threads = 1 if is_serial and threads else threads
        self._is_serial = is_serial
        self._waiting: collections.deque[tuple[Job, bool]] = collections.deque()
        self._jobs: dict[Job, None] = {}
        self._executor: futures.ThreadPoolExecutor | None = None
        self._part_count = 0
        self._idle: asyncio.Future[None] | None = None
        # Kept from the first job to the stop: in Python 3.11 asking for it is a system call.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        # The context in which the object was hosted, but for its deadline: that of a call is the
        # caller's.
        self._context = contextvars.copy_context()
        self._context.run(ambient.clear)

    def start(self, job: Job, *, is_async: bool) -> None:
        """Run a job, now or when its turn comes; one whose time is up then is not begun."""
        if self._is_serial and self._jobs:
            self._waiting.append((job, is_async))
            return
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if job.deadline is not None and job.deadline <= loop.time():
            job.done(DeadlineExceeded(TOO_LATE))
            return
        self._jobs[job] = None
        context = self._context.copy()
        if is_async:
            job.handle = loop.create_task(self._run_async(job, loop), context=context)
            deadline = job.deadline
            if deadline is not None and (self._timer is None or deadline < self._timer_at):
                self._watch(deadline, loop)
        elif self._threads:
            job.handle = self._threads_of_ours().submit(context.run, self._run_in_thread, job, loop)
        else:
            self._finish(job, context.run(_run_blocking, job, _time_left(job, loop)))

    def submit(self, function: Callable[[], ResultT]) -> futures.Future[ResultT]:
        """Run a part of a job that blocks: on a thread, or at once where there are none.

        It runs in the present context: with the job's deadline, when the job asks for it. A thread
        that is at work is never interrupted, and is waited for by `stop`.
        """
        if self._threads:
            loop = asyncio.get_running_loop()
            part = self._threads_of_ours().submit(contextvars.copy_context().run, function)
            self._part_count += 1
            part.add_done_callback(lambda _: loop.call_soon_threadsafe(self._part_ended))
            return part
        future: futures.Future[ResultT] = futures.Future()
        try:
            future.set_result(contextvars.copy_context().run(function))
        except BaseException as error:  # noqa: BLE001 - it is the outcome
            future.set_exception(error)
        return future

    def interrupt(self, job: Job, reason: BaseException) -> None:
        """End a job early if it can be ended; its outcome is then `reason`."""
        if job.interruption is not None:
            return
        job.interruption = reason
        for waiting in self._waiting:
            if waiting[0] is job:
                self._waiting.remove(waiting)
                job.done(reason)
                return
        handle = job.handle
        if isinstance(handle, asyncio.Task):
            # A task that is cancelled before its first step never gets to report by itself.
            handle.add_done_callback(lambda _: self._finish(job, reason))
            handle.cancel()
        elif handle is not None and handle.cancel():
            self._finish(job, reason)  # it was never begun, and its thread will not report

    async def stop(self) -> None:
        """End what can be ended, wait for the rest, and leave no thread or task."""
        reason = OutcomeUnknown(STOPPING)
        for job, _ in list(self._waiting):
            self.interrupt(job, reason)
        for job in list(self._jobs):
            self.interrupt(job, reason)
        if self._jobs or self._part_count:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        if self._executor is not None:
            # Every job has reported, so its threads have nothing left to do: this does not block.
            self._executor.shutdown(wait=True)
            self._executor = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None

    async def _run_async(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        ambient.set_deadline(loop.time, job.deadline)
        try:
            outcome: CallFrame | BaseException = job.encode(await job.function())
        except asyncio.CancelledError as error:
            # The task ends here in either case: nobody awaits it but this class.
            outcome = job.interruption or error
        except Exception as error:  # noqa: BLE001 - whatever the method raises is its outcome
            outcome = error
        self._finish(job, outcome)

    def _run_in_thread(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        left = _time_left(job, loop)  # it may have waited for the thread
        is_late = left is not None and left <= 0
        outcome = DeadlineExceeded(TOO_LATE) if is_late else _run_blocking(job, left)
        loop.call_soon_threadsafe(self._finish, job, outcome)

    def _finish(self, job: Job, outcome: CallFrame | BaseException) -> None:
        if job not in self._jobs:
            return
        del self._jobs[job]
        job.done(outcome)
        while self._waiting and not self._jobs:
            following, is_async = self._waiting.popleft()
            self.start(following, is_async=is_async)
        if self._idle is not None:
            self._tell_idle()

    def _part_ended(self) -> None:
        self._part_count -= 1
        self._tell_idle()

    def _tell_idle(self) -> None:
        is_idle = not self._jobs and not self._part_count
        if is_idle and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _threads_of_ours(self) -> futures.ThreadPoolExecutor:
        if self._executor is None:
            self._executor = futures.ThreadPoolExecutor(self._threads, "liferaft-worker")
        return self._executor

    # One timer for all deadlines: most calls end long before theirs.

    def _watch(self, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = loop.call_at(deadline, self._time_passed, loop)

    def _time_passed(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        running = [
            job
            for job in self._jobs
            if isinstance(job.handle, asyncio.Task) and job.interruption is None
        ]
        for job in running:
            if job.deadline is not None and job.deadline <= now:
                self.interrupt(job, DeadlineExceeded("the deadline passed during the call"))
        later = [j.deadline for j in running if j.deadline is not None and j.deadline > now]
        if later:
            self._watch(min(later), loop)


def _time_left(job: Job, loop: asyncio.AbstractEventLoop) -> float | None:
    return None if job.deadline is None else job.deadline - loop.time()


def _run_blocking(job: Job, time_left: float | None) -> CallFrame | BaseException:
    ambient.set_time_left(time_left)
    cancellation.executing(job)
    try:
        return job.encode(job.function())
    except BaseException as error:  # noqa: BLE001 - a method must not end a worker or the loop
        return error
