"""The dispatcher of a plain object: what it answers to calls, repeats and cancellations."""

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from liferaft.errors import (
    ConfigurationError,
    DeadlineExceeded,
    LiferaftError,
    OutcomeUnknown,
    Overloaded,
    Refused,
    RemoteError,
    SessionExpired,
)
from liferaft.link.frames import joined
from liferaft.rpc import deadline as ambient
from liferaft.rpc.access import EVERYTHING
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.callee_sessions import Memory
from liferaft.rpc.codec import decode_failure, decode_frame, encode
from liferaft.rpc.interface import Interface
from liferaft.rpc.wire import Call, Failure, Reply
from tests.rpc.objects import Counter, CounterObject

pytestmark = pytest.mark.looptime(noop_cycles=0)
SESSION = b"s" * 16


class FakeRequest:
    """A request that keeps its answer."""

    def __init__(
        self,
        number: int,
        method: str,
        *arguments: Any,
        acked_below: int = 1,
        session: bytes = SESSION,
        deadline: float | None = None,
        is_beyond_limit: bool = False,
    ) -> None:
        self.is_beyond_limit = is_beyond_limit
        raw = msgspec.Raw(encode(arguments))
        self.call = Call(number, acked_below, "Counter", method, None, raw)
        self.session = session
        self.peer = "somebody"
        self.roles = EVERYTHING
        self.frame = encode(self.call)
        self.deadline = deadline
        self.answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.workings = 0

    def answer(self, frame: CallFrame) -> None:
        reply = decode_frame(joined(frame))
        if isinstance(reply, Failure):
            self.answered.set_result(decode_failure(reply))
        else:
            assert isinstance(reply, Reply)
            self.answered.set_result(msgspec.msgpack.decode(reply.result))

    def refuse(self, error: Refused) -> None:
        self.answered.set_result(error)

    def redirect(self, address: str | None) -> None:
        raise AssertionError("a plain object sends nobody elsewhere")

    def push(self, frame: bytes) -> None:
        raise NotImplementedError

    def working(self) -> None:
        self.workings += 1


async def dispatcher_of(
    implementation: object, interface: type = Counter, **how: Any
) -> ObjectDispatcher:
    dispatcher = ObjectDispatcher(implementation, Interface.of(interface), **how)
    await dispatcher.admit(SESSION, is_resumed=False, send=lambda _: None)
    return dispatcher


async def ask(dispatcher: ObjectDispatcher, *request: Any, **how: Any) -> Any:
    asked = FakeRequest(*request, **how)
    dispatcher.dispatch(asked)
    return await asked.answered


async def test_a_repeated_call_gets_the_first_answer() -> None:
    object_ = CounterObject()
    dispatcher = await dispatcher_of(object_)
    answers = [await ask(dispatcher, 1, "increment", 1) for _ in range(3)]

    assert [1, 1, 1] == answers
    assert (1, 1) == (object_.count, dispatcher.calls_served)


async def test_a_link_with_too_many_calls_has_new_ones_refused_and_no_repeats() -> None:
    """Or a copy would be told that nothing was executed, when an earlier copy was."""
    object_ = CounterObject()
    dispatcher = await dispatcher_of(object_)
    assert 1 == await ask(dispatcher, 1, "increment", 1)

    assert 1 == await ask(dispatcher, 1, "increment", 1, is_beyond_limit=True)
    refusal = await ask(dispatcher, 2, "increment", 1, is_beyond_limit=True)
    assert Overloaded is type(refusal)
    assert 2 == await ask(dispatcher, 2, "increment", 1)
    assert 2 == object_.count


async def test_a_repeat_of_a_call_under_way_is_told_so_and_gets_the_answer() -> None:
    """The first request's link may be gone by then, so the answer goes to whoever asked last."""
    dispatcher = await dispatcher_of(CounterObject())
    first, second = FakeRequest(1, "increment", 1), FakeRequest(1, "increment", 1)
    dispatcher.dispatch(first)
    dispatcher.dispatch(second)
    answer = await second.answered

    assert (1, 1, False) == (answer, second.workings, first.answered.done())


async def test_a_call_of_an_unknown_session_is_not_executed() -> None:
    object_ = CounterObject()
    dispatcher = await dispatcher_of(object_)
    answer = await ask(dispatcher, 1, "increment", 1, session=b"x" * 16)

    assert SessionExpired is type(answer)
    assert 0 == object_.count


async def test_a_session_that_is_not_known_cannot_be_resumed() -> None:
    dispatcher = ObjectDispatcher(CounterObject(), Interface.of(Counter))
    with pytest.raises(SessionExpired):
        await dispatcher.admit(SESSION, is_resumed=True, send=lambda _: None)


async def test_replies_of_all_sessions_together_are_bounded() -> None:
    dispatcher = await dispatcher_of(CounterObject(), memory=Memory(reply_bytes_max=100))
    for number in range(1, 60):
        await ask(dispatcher, number, "increment", 1)
    answer = await ask(dispatcher, 1, "increment", 1)

    assert OutcomeUnknown is type(answer)


async def test_who_has_left_is_not_missed_and_may_be_let_in_again() -> None:
    dispatcher = ObjectDispatcher(CounterObject(), Interface.of(Counter))
    now = asyncio.get_running_loop().time()
    assert not dispatcher.may_come_back(SESSION)

    await dispatcher.admit(SESSION, is_resumed=False, send=lambda _: None)
    assert dispatcher.may_come_back(SESSION)
    assert [True, False] == [dispatcher.is_missed(moment) for moment in (now, now + 60)]

    dispatcher.leave(SESSION)
    assert not dispatcher.may_come_back(SESSION)
    assert not dispatcher.is_missed(now)

    await dispatcher.admit(SESSION, is_resumed=True, send=lambda _: None)
    assert dispatcher.may_come_back(SESSION)
    await dispatcher.stop()


async def test_sessions_are_bounded_and_idle_ones_make_room() -> None:
    memory = Memory(sessions_max=1, session_idle_max=60.0)
    dispatcher = await dispatcher_of(CounterObject(), memory=memory)
    await ask(dispatcher, 1, "increment", 1)
    with pytest.raises(Overloaded):
        await dispatcher.admit(b"x" * 16, is_resumed=False, send=lambda _: None)
    await asyncio.sleep(61)
    await dispatcher.admit(b"x" * 16, is_resumed=False, send=lambda _: None)

    assert 1 == dispatcher.session_count


async def test_sessions_without_a_call_keep_nobody_out() -> None:
    """Who opens them by the thousand must not: and those that are heard of stay the longest."""
    dispatcher = await dispatcher_of(CounterObject(), memory=Memory(sessions_max=10))
    await ask(dispatcher, 1, "increment", 1)
    await dispatcher.admit(b"heard of" * 2, is_resumed=False, send=lambda _: None)
    for number in range(100):
        await asyncio.sleep(1)
        dispatcher.acknowledge(b"heard of" * 2, 1)
        await dispatcher.admit(number.to_bytes(16, "big"), is_resumed=False, send=lambda _: None)

    assert dispatcher.session_count <= 10
    assert 2 == await ask(dispatcher, 2, "increment", 1)
    assert 3 == await ask(dispatcher, 1, "increment", 1, session=b"heard of" * 2)


async def test_calls_being_executed_are_bounded_whoever_made_them() -> None:
    """A caller may leave and come again, as another session; its methods run on meanwhile."""
    dispatcher = await dispatcher_of(CounterObject(), memory=Memory(executions_max=3))
    requests = [FakeRequest(number, "hang") for number in range(1, 5)]
    for request in requests:
        dispatcher.dispatch(request)
    refused = await requests[3].answered
    dispatcher.cancel(SESSION, 1)
    await requests[0].answered
    dispatcher.dispatch(FakeRequest(4, "hang"))

    assert Overloaded is type(refused)
    assert 3 == dispatcher._execution_count


async def test_the_bytes_of_calls_being_executed_are_bounded_but_for_one() -> None:
    memory = Memory(execution_bytes_max=1_000)
    dispatcher = await dispatcher_of(CounterObject(), memory=memory)
    alone = await ask(dispatcher, 1, "fail", "x" * 2_000)
    dispatcher.dispatch(FakeRequest(2, "hang"))
    beside = await ask(dispatcher, 3, "fail", "x" * 2_000)
    small = await ask(dispatcher, 4, "increment", 1)

    assert [RemoteError, Overloaded, int] == [type(answer) for answer in (alone, beside, small)]
    assert dispatcher._execution_bytes < 100


async def test_cancelling_ends_an_async_method_even_before_its_first_step() -> None:
    object_ = CounterObject()
    dispatcher = await dispatcher_of(object_)
    request = FakeRequest(1, "hang")
    dispatcher.dispatch(request)
    dispatcher.cancel(SESSION, 1)
    answer = await request.answered

    assert DeadlineExceeded is type(answer)
    assert 0 == object_.hanging
    assert 0 == dispatcher._execution_count


async def test_the_deadline_ends_an_async_method() -> None:
    object_ = CounterObject()
    dispatcher = await dispatcher_of(object_)
    loop = asyncio.get_running_loop()
    soon = asyncio.ensure_future(ask(dispatcher, 1, "hang", deadline=loop.time() + 5))
    sooner = asyncio.ensure_future(ask(dispatcher, 2, "hang", deadline=loop.time() + 1))
    await asyncio.wait([sooner])
    first_at = loop.time()
    await asyncio.wait([soon])

    assert (1.0, 5.0) == pytest.approx((first_at, loop.time()))
    assert 2 == object_.cancelled


class Blocking:
    def increment(self, by: int = 1) -> int:
        return by

    def thread(self) -> str:
        return threading.current_thread().name

    def left(self) -> float | None:
        return ambient.time_left()

    def broken(self) -> Any:
        return object()

    def exits(self) -> None:
        raise SystemExit(3)


async def test_blocking_methods_run_on_threads_or_on_the_loop() -> None:
    on_threads = await dispatcher_of(Blocking(), Blocking, threads=2)
    on_loop = await dispatcher_of(Blocking(), Blocking, threads=0)
    names = [await ask(each, 1, "thread") for each in (on_threads, on_loop)]
    await on_threads.stop()

    assert ["liferaft-worker_0", threading.current_thread().name] == names


async def test_the_time_left_is_the_methods_ambient_deadline() -> None:
    with ambient.deadline(1.0):  # of whoever hosts the object: no caller's business
        dispatcher = await dispatcher_of(Blocking(), Blocking, threads=0)
    left = await ask(dispatcher, 1, "left", deadline=asyncio.get_running_loop().time() + 7)
    none_left = await ask(dispatcher, 2, "left")

    assert (pytest.approx(7.0), None) == (left, none_left)


async def test_a_result_that_cannot_be_sent_is_the_callers_remote_error() -> None:
    dispatcher = await dispatcher_of(Blocking(), Blocking, threads=0)
    answer = await ask(dispatcher, 1, "broken")

    assert RemoteError is type(answer)
    assert "TypeError" == answer.remote_type


async def test_a_method_that_exits_ends_neither_thread_nor_loop() -> None:
    dispatcher = await dispatcher_of(Blocking(), Blocking, threads=1)
    answers = [await ask(dispatcher, 1, "exits"), await ask(dispatcher, 2, "increment", 4)]
    await dispatcher.stop()

    assert ["SystemExit", 4] == [answers[0].remote_type, answers[1]]


async def test_an_unknown_method_is_refused() -> None:
    dispatcher = await dispatcher_of(CounterObject())
    answer = await ask(dispatcher, 1, "nonsense")

    assert isinstance(answer, LiferaftError)
    assert "Counter has no method 'nonsense'" == str(answer)


class Slow:
    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def step(self) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(1)
        self.running -= 1
        return self.most


@pytest.mark.parametrize(("is_serial", "most"), [(True, 1), (False, 5)])
async def test_a_serial_object_takes_one_call_at_a_time(is_serial: bool, most: int) -> None:
    object_ = Slow()
    dispatcher = await dispatcher_of(object_, Slow, is_serial=is_serial)
    await asyncio.gather(*[ask(dispatcher, number, "step") for number in range(1, 6)])

    assert most == object_.most


async def test_stopping_ends_what_runs_and_what_waits() -> None:
    dispatcher = await dispatcher_of(Slow(), Slow, is_serial=True)
    requests = [FakeRequest(number, "step") for number in (1, 2)]
    for request in requests:
        dispatcher.dispatch(request)
    await dispatcher.stop()
    answers = [await request.answered for request in requests]

    assert [OutcomeUnknown, OutcomeUnknown] == [type(answer) for answer in answers]


async def test_a_negative_number_of_threads_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="0 or more"):
        ObjectDispatcher(CounterObject(), Interface.of(Counter), threads=-1)
