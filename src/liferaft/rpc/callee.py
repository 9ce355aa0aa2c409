"""The callee's side: sessions kept, methods run, each call at most once.

`ObjectDispatcher` is the dispatcher of a plain object: its sessions live in memory and end with the
process. It knows nothing of links: `liferaft.rpc.server` brings the calls.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from liferaft.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InvalidArgument,
    NoSuchObject,
    OutcomeUnknown,
    Overloaded,
    PermissionDenied,
    Refused,
    SessionExpired,
)
from liferaft.rpc.access import denial, is_allowed
from liferaft.rpc.buffers import CallFrame, encode_reply
from liferaft.rpc.callee_interception import HostInterception
from liferaft.rpc.callee_references import HostReferences
from liferaft.rpc.callee_sessions import CalleeSessions, Memory
from liferaft.rpc.callee_streams import HostedStreams, run_streaming
from liferaft.rpc.codec import encode, encode_failure, encode_raised
from liferaft.rpc.dispatch import RETRY_AFTER, Request, Sender, too_many_in_flight
from liferaft.rpc.interception import Interceptor
from liferaft.rpc.interface import Interface, MethodSignature, is_awaited
from liferaft.rpc.references import ReferenceTable, Target
from liferaft.rpc.session import EXECUTE, REPEAT, WORKING, CalleeSession
from liferaft.rpc.stream import WINDOW, WINDOW_FIRST
from liferaft.rpc.wire import Chunk, Credit, Notify, Reply
from liferaft.rpc.workers import STOPPING, Job, Workers

logger = logging.getLogger("liferaft.rpc")


class _Execution(Job, eq=False, kw_only=True):
    """A call that is being executed, and where its answer goes: to whoever asked last."""

    dispatcher: "ObjectDispatcher"
    request: Request
    session: "CalleeSession[_Execution]"
    number: int
    size_bytes: int
    signature: MethodSignature
    streams: HostedStreams | None = None
    # Whose references came with the arguments, those as they came, and as they are now: where an
    # interceptor may turn the call away, which gives them back.
    given: tuple[ReferenceTable, tuple[Any, ...], tuple[Any, ...]] | None = None
    # What must live until the caller has the answer.
    held: Sequence[Any] = ()

    def encode(self, result: Any) -> CallFrame:
        """See `Job`."""
        if self.signature.result_walk is not None:
            result, self.held = self.dispatcher.result_out(self, result)
        if self.signature.gives_buffers:
            return encode_reply(self.number, result)
        return encode(Reply(self.number, result))

    def done(self, outcome: CallFrame | BaseException) -> None:
        """See `Job`."""
        if isinstance(outcome, BaseException):
            if isinstance(outcome, Refused) and not self.is_begun:
                self.dispatcher.refused(self, outcome)
                return
            outcome = encode_raised(self.number, outcome, self.signature.declared)
        self.dispatcher.executed(self, outcome)


class _Notification(Job, eq=False, kw_only=True):
    """A one-way call that is being executed: nobody hears of its outcome."""

    name: str

    def encode(self, result: Any) -> CallFrame:
        """See `Job`."""
        return encode(result)

    def done(self, outcome: CallFrame | BaseException) -> None:
        """See `Job`."""
        if isinstance(outcome, BaseException):
            logger.error("the one-way method %s raised", self.name, exc_info=outcome)


class ObjectDispatcher:
    """Answers the calls of one plain object; see `liferaft.rpc.dispatch.Dispatcher`.

    `threads` bounds how many blocking methods run at a time; 0 runs them on the loop itself, which
    suits methods that return at once. `is_serial` runs one call at a time, in order of arrival.
    Every call goes through the `interceptors`, which are told the object's `name`, and what is
    called of callers' objects through the `callback_interceptors`. A caller's own objects are
    called by its host (`is_called_back`). Raises `InterfaceError` when the implementation lacks a
    method of the interface.
    """

    def __init__(
        self,
        implementation: object,
        interface: Interface,
        *,
        threads: int = 8,
        is_serial: bool = False,
        memory: Memory | None = None,
        name: str = "",
        interceptors: Sequence[Interceptor] = (),
        callback_interceptors: Sequence[Interceptor] = (),
        is_called_back: bool = False,
    ) -> None:
        if threads < 0:
            raise ConfigurationError(f"threads must be 0 or more, not {threads}")
        interface.check_implementation(implementation)
        self.interface = interface
        self.calls_served = 0
        functions: dict[str, tuple[Callable[..., Any], bool]] = {}
        for method in interface.methods:
            function = getattr(implementation, method)
            functions[method] = (function, is_awaited(function))
        self._own = Target(
            interface.methods, functions, dict.fromkeys(interface.methods, interface.name)
        )
        self._memory = memory or Memory()
        self._sessions: Final = CalleeSessions[_Execution](self._memory)
        self.references = HostReferences(
            interface, heard_at=self._sessions.heard_at, interceptors=callback_interceptors
        )
        self._has_references = any(m.has_references for m in interface.methods.values())
        self._workers = Workers(threads=threads, is_serial=is_serial)
        self._interception: HostInterception | None = None
        if interceptors:
            self._interception = HostInterception(interceptors, name=name or interface.name)
        self._is_called_back = is_called_back
        self._clock: Callable[[], float]
        self._execution_count = 0
        self._execution_bytes = 0
        self._stream_count = 0

    @property
    def is_durable(self) -> bool:
        """False: the sessions end with this host."""
        return False

    @property
    def session_count(self) -> int:
        """How many callers are remembered."""
        return len(self._sessions)

    async def admit(
        self, session: bytes, *, is_resumed: bool, send: Callable[[CallFrame], None]
    ) -> None:
        """See `Dispatcher`."""
        self._admit(session, is_resumed=is_resumed)
        if self._has_references:
            self.references.attach(session, send)

    def open_session(self, session: bytes) -> None:
        """Let a session in that has no link of its own."""
        self._admit(session, is_resumed=False)

    def _admit(self, session: bytes, *, is_resumed: bool) -> None:
        # Kept for the calls: in Python 3.11 asking for it is a system call.
        self._clock = asyncio.get_running_loop().time
        self._sessions.admit(session, is_resumed=is_resumed, now=self._clock())

    def dispatch(self, request: Request) -> None:
        """See `Dispatcher`."""
        call = request.call
        number = call.number
        session = self._sessions.get(request.session)
        if session is None:
            request.answer(encode_failure(number, SessionExpired("the host dropped the session")))
            return
        session.active_at = self._clock()
        verdict = session.receive(number, call.acked_below)
        if verdict is EXECUTE:
            self._execute(request, session)
        elif verdict is WORKING:
            execution = session.running[number]
            assert execution is not None, "it begins in the turn in which it arrives"
            execution.request = request
            request.working()
        elif verdict is REPEAT:
            request.answer(session.reply(number))
        else:
            request.answer(
                encode_failure(number, OutcomeUnknown("the reply is gone; executed or not"))
            )

    def notify(self, notification: Notify, sender: Sender) -> None:
        """See `Dispatcher`."""
        method, session = notification.method, sender.session
        assert session is not None
        try:
            target = self._target(session, notification.object)
        except NoSuchObject as error:
            logger.warning("a one-way call was dropped: %s", error)
            return
        signature = target.methods.get(method)
        if signature is None:
            logger.warning("%s has no one-way method %s", self.interface.name, ascii(method))
            return
        if signature.roles and not is_allowed(signature.roles, sender.roles):
            logger.warning("a one-way call was dropped: %s", denial(method, signature.roles))
            return
        try:
            values = signature.arguments.decode(notification.arguments)
        except InvalidArgument as error:
            logger.warning("a one-way call was dropped: %s", ascii(str(error)))
            return
        function, is_async = target.functions[method]
        job = _Notification(signature.prepare(function, values), None, name=method)
        interface = target.interfaces.get(method)
        if self._interception is not None and interface is not None:
            job.function = self._interception.around(
                job,
                signature,
                function,
                values,
                interface=interface,
                object=notification.object,
                metadata=notification.metadata,
                peer=sender.peer,
                run=_run_awaited if is_async else self._run_blocking,
            )
            is_async = True
        self._workers.start(job, is_async=is_async)

    def cancel(self, session: bytes, number: int) -> None:
        """See `Dispatcher`."""
        execution = self._running(session, number)
        if execution is not None:
            self._interrupt(execution, DeadlineExceeded("the caller gave the call up"))

    def stream(self, session: bytes, frame: Chunk | Credit) -> None:
        """See `Dispatcher`."""
        execution = self._running(session, frame.number)
        if execution is not None and execution.streams is not None:
            execution.session.active_at = self._clock()
            execution.streams.take(frame)

    def acknowledge(self, session: bytes, acked_below: int) -> None:
        """See `Dispatcher`."""
        known = self._sessions.get(session)
        if known is not None:
            known.active_at = self._clock()
            known.acknowledge(acked_below)

    def may_come_back(self, session: bytes) -> bool:
        """See `Dispatcher`."""
        return self._sessions.may_come_back(session)

    def is_missed(self, since: float) -> bool:
        """See `Dispatcher`."""
        return self._sessions.is_missed(since)

    def answered(self, session: bytes, data: bytes) -> None:
        """See `Dispatcher`."""
        known = self._sessions.get(session)
        if known is not None:
            known.active_at = self._clock()
            self.references.answered(session, data)

    def leave(self, session: bytes) -> None:
        """See `Dispatcher`."""
        self._sessions.leave(session)
        self.references.leave(session)

    def result_out(self, execution: _Execution, result: Any) -> tuple[Any, list[Any]]:
        """See `ReferenceTable`; called where the method ran."""
        table = self.references.known(execution.request.session)
        return table.result_out(execution.signature, result)

    def _running(self, session: bytes, number: int) -> _Execution | None:
        known = self._sessions.get(session)
        return None if known is None else known.running.get(number)

    def _target(self, session: bytes, name: str) -> Target:
        """Return what is called under `name`; raises `NoSuchObject`."""
        return self.references.target(session, name) if "#" in name else self._own

    async def stop(self) -> None:
        """End what is being executed, wait for what cannot be ended, and stop the threads."""
        for execution in list(self._sessions.executions()):
            if execution.streams is not None:
                execution.streams.fail(OutcomeUnknown(STOPPING))
        self.references.stop()
        await self._workers.stop()

    def _execute(self, request: Request, session: CalleeSession[_Execution]) -> None:
        call = request.call
        number = call.number
        try:
            target = self._target(request.session, call.object) if "#" in call.object else self._own
        except NoSuchObject as error:
            session.withdraw(number)
            request.refuse(error)
            return
        signature = target.methods.get(call.method)
        refusal = self._refusal(request, signature)
        if refusal is not None:
            session.withdraw(number)
            request.refuse(refusal)
            return
        assert signature is not None, "it would have been refused"
        try:
            values = signature.arguments.decode(call.arguments)
            given = None
            if signature.has_references:
                came, table = values, self.references.of(request.session)
                values = table.arguments_in(signature, came)
                given = table, came, values
        except InvalidArgument as error:
            session.withdraw(number)
            request.answer(encode_failure(number, error))
            return
        function, is_async = target.functions[call.method]
        execution = _Execution(
            signature.prepare(function, values),
            request.deadline,
            dispatcher=self,
            request=request,
            session=session,
            number=number,
            size_bytes=len(request.frame),
            signature=signature,
        )
        session.running[number] = execution
        self._execution_count += 1
        self._execution_bytes += execution.size_bytes
        if signature.has_streams or self._interception is not None:
            execution.given = given
            interface = None if self._interception is None else target.interfaces.get(call.method)
            is_async = self._prepare(execution, function, values, interface, is_async=is_async)
        self._workers.start(execution, is_async=is_async)

    def _refusal(self, request: Request, signature: MethodSignature | None) -> Refused | None:
        """Return why a call is not executed that was never taken before, None when it is."""
        call, memory = request.call, self._memory
        if request.is_beyond_limit:
            return too_many_in_flight()
        size_bytes = self._execution_bytes + len(request.frame)
        if self._execution_count and (
            size_bytes > memory.execution_bytes_max
            or self._execution_count >= memory.executions_max
        ):
            return Overloaded("the host executes as many calls as it can bear", RETRY_AFTER)
        if signature is None:
            return NoSuchObject(f"{self.interface.name} has no method {call.method!r}")
        if signature.has_streams and self._stream_count >= memory.streams_max:
            return Overloaded("the host has as many streams as it can bear", RETRY_AFTER)
        if signature.roles and not is_allowed(signature.roles, request.roles):
            return PermissionDenied(denial(call.method, signature.roles))
        return None

    def _prepare(
        self,
        execution: _Execution,
        function: Callable[..., Any],
        values: tuple[Any, ...],
        interface: str | None,
        *,
        is_async: bool,
    ) -> bool:
        """Have the call go through what lies around its method; return whether it is a task now."""
        signature = execution.signature
        is_blocking = not is_async and not _gives_async_iterator(function, signature)
        run: Callable[..., Awaitable[Any]] = self._run_blocking if is_blocking else _run_awaited
        if signature.has_streams:
            streams = self._open_streams(execution, signature)
            values = streams.arguments(values, is_blocking=is_blocking)
            if signature.result_items is not None:
                run = functools.partial(
                    run_streaming,
                    streams,
                    job=execution,
                    is_blocking=is_blocking,
                    workers=self._workers,
                )
                is_async = True
        if self._interception is not None and interface is not None:
            execution.function = self._interception.around(
                execution,
                signature,
                function,
                values,
                interface=interface,
                object=execution.request.call.object,
                metadata=execution.request.call.metadata,
                peer=execution.request.peer,
                run=run,
            )
            return True
        call = signature.prepare(function, values)
        has_stream = signature.result_items is not None
        execution.function = functools.partial(run, call) if has_stream else call
        return is_async

    async def _run_blocking(self, call: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(self._workers.submit(call))

    def _open_streams(self, execution: _Execution, signature: MethodSignature) -> HostedStreams:
        streams = execution.streams = HostedStreams(
            signature,
            request=lambda: execution.request,
            heard_at=lambda: execution.session.active_at,
            is_called_back=self._is_called_back,
            give_up=lambda reason: self._interrupt(execution, reason),
            window=self._window(),
        )
        self._stream_count += 1
        return streams

    def _window(self) -> int:
        """Return what each stream of another call may hold: less, the more calls have some."""
        share = self._memory.stream_bytes_max // (self._stream_count + 1)
        return min(WINDOW, max(WINDOW_FIRST, share))

    def _interrupt(self, execution: _Execution, reason: BaseException) -> None:
        if execution.streams is not None:
            execution.streams.fail(reason)  # a thread that waits for an item waits no longer
        self._workers.interrupt(execution, reason)

    def refused(self, execution: _Execution, error: Refused) -> None:
        """Turn a call away that an interceptor did not let through: it may come again."""
        self._ended(execution)
        if execution.given is not None:
            table, came, _ = execution.given
            table.not_taken(execution.signature, came)
            execution.given = None
        execution.session.withdraw(execution.number)
        execution.request.refuse(error)

    def _ended(self, execution: _Execution) -> None:
        self._execution_count -= 1
        if execution.streams is not None:
            execution.streams.end()
            self._stream_count -= 1
        self._execution_bytes -= execution.size_bytes

    def executed(self, execution: _Execution, reply: CallFrame) -> None:
        """Keep the answer of a call that has ended, and send it."""
        request, session = execution.request, execution.session
        self._ended(execution)
        self.calls_served += 1
        sessions = self._sessions
        session.finish(execution.number, reply, execution.held)
        if sessions.replies.count > self._memory.reply_bytes_max:
            sessions.drop_replies()
        request.answer(reply)


async def _run_awaited(call: Callable[[], Any]) -> Any:
    result = call()
    return await result if inspect.isawaitable(result) else result


def _gives_async_iterator(function: Callable[..., Any], signature: MethodSignature) -> bool:
    """Return whether calling a method that is no coroutine blocks nobody."""
    if inspect.isasyncgenfunction(function):
        return True
    is_async = signature.result_items is not None and signature.result_items.is_async
    return is_async and not inspect.isgeneratorfunction(function)
