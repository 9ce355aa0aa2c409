"""Any order of lost, repeated and reordered frames: each call runs once at most, and is answered.

The caller's protocol talks to a host made of `CalleeSession`s over a network that is a bag of
frames; what is delivered, and when, is drawn. At the end the network is good, and nothing may be
stuck.
"""

import itertools
from collections import Counter as Multiset
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from liferaft.errors import (
    DeadlineExceeded,
    LiferaftError,
    OutcomeUnknown,
    SessionExpired,
    Unreachable,
)
from liferaft.link.frames import joined
from liferaft.rpc import wire
from liferaft.rpc.caller_state import State
from liferaft.rpc.codec import decode_failure, decode_frame, encode, encode_failure
from liferaft.rpc.interface import Interface
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.session import CalleeSession, Verdict
from tests.profiles import machine_settings
from tests.rpc.objects import Counter

INTERFACE = Interface.of(Counter)
INCREMENT, VALUE = INTERFACE.methods["increment"], INTERFACE.methods["value"]
REPLIES_MAX, REPLY_BYTES_MAX = 2, 200
REMEMBERED = 40


class Host:
    """Executes calls: `increment(n)` answers n, so that an answer tells whose it is."""

    def __init__(self, incarnation: bytes, executed: Multiset[int]) -> None:
        self.incarnation = incarnation
        self.executed = executed
        self.sessions: dict[bytes, CalleeSession[int]] = {}
        self.greeted: dict[int, bytes] = {}
        self.running: dict[tuple[bytes, int], int] = {}

    def receive(self, link: int, frame: wire.Frame) -> list[bytes]:
        """Return the answers to a frame that came over a link."""
        if isinstance(frame, wire.Hello):
            assert self.greeted.setdefault(link, frame.session) == frame.session
            return [encode(wire.Welcome(1, self.incarnation, 2**20))]
        session_id = self.greeted.get(link)
        if session_id is None:
            return []
        if isinstance(frame, wire.Bind):
            return [encode(self._bind(session_id, frame))]
        session = self.sessions.get(session_id)
        answers: list[bytes] = []
        if session is None:
            return answers
        if isinstance(frame, wire.Ping):
            session.acknowledge(frame.acked_below)
            answers = [encode(wire.Pong())]
        elif isinstance(frame, wire.Call):
            answers = self._call(session_id, session, frame)
        else:
            assert isinstance(frame, wire.Cancel), frame
        return answers

    def _bind(self, session_id: bytes, frame: wire.Bind) -> wire.Frame:
        if session_id not in self.sessions and frame.is_resumed:
            return wire.Unbound(frame.object, "expired", "it was dropped")
        fresh = CalleeSession[int](replies_max=REPLIES_MAX, reply_bytes_max=REPLY_BYTES_MAX)
        self.sessions.setdefault(session_id, fresh)
        return wire.Bound(frame.object, "Counter", is_durable=False)

    def _call(self, session_id: bytes, session: CalleeSession[int], call: wire.Call) -> list[bytes]:
        verdict = session.receive(call.number, call.acked_below)
        if verdict is Verdict.EXECUTE:
            arguments = INTERFACE.methods[call.method].arguments.decode(call.arguments)
            self.running[session_id, call.number] = arguments[0] if arguments else 0
            self.executed[self.running[session_id, call.number]] += 1
            return []
        if verdict is Verdict.WORKING:
            return [encode(wire.Working(call.number))]
        if verdict is Verdict.REPEAT:
            return [joined(session.reply(call.number))]
        return [encode_failure(call.number, OutcomeUnknown("the reply is gone"))]

    def finish(self, position: int) -> list[bytes]:
        """End one of the calls that run, and return its answer."""
        session_id, number = sorted(self.running)[position % len(self.running)]
        answer = encode(wire.Reply(number, msgspec.Raw(encode(self.running[session_id, number]))))
        del self.running[session_id, number]
        self.sessions[session_id].finish(number, answer)
        return [answer]


class SessionMachine(RuleBasedStateMachine):
    """One caller, one host that may restart, and the frames between them."""

    def __init__(self) -> None:
        super().__init__()
        random = Random(1)
        self.now = 0.0
        self.link = 0
        self.waiters = itertools.count(1)
        self.protocol: CallerProtocol[int] = CallerProtocol(
            object_name="",
            signatures=INTERFACE.signatures,
            draw_session=lambda: random.randbytes(wire.SESSION_BYTES),
        )
        self.executed: Multiset[int] = Multiset()
        self.host = Host(b"1" * 16, self.executed)
        self.hosts = 1
        self.to_host: list[tuple[int, bytes]] = []
        self.to_caller: list[bytes] = []
        self.sent: list[tuple[int, bytes]] = []
        self.made: set[int] = set()
        self.cancelled: set[int] = set()
        self.answers: dict[int, Any] = {}
        self.is_forgetful = False
        self._open()
        self.be_good()

    def _open(self) -> None:
        self.link += 1
        self.to_caller.clear()
        self.protocol.link_opened(self.now)
        self._take()

    def _take(self) -> None:
        """Carry out what the protocol says, as its driver does."""
        protocol = self.protocol
        outgoing = [(self.link, joined(frame)) for frame in protocol.outgoing]
        self.to_host += outgoing
        self.sent = (self.sent + outgoing)[-REMEMBERED:]
        protocol.outgoing.clear()
        for call, outcome in protocol.answers:
            assert call.waiter not in self.answers, "answered twice"
            self.answers[call.waiter] = outcome
        protocol.answers.clear()
        if protocol.leave is not None:
            reason = protocol.leave.reason
            protocol.link_lost(reason)
            self._open()

    def _deliver_to_host(self, position: int) -> None:
        link, data = self.to_host[position % len(self.to_host)]
        answers = self.host.receive(link, decode_frame(data))
        if link == self.link:
            self.to_caller += answers

    def _deliver_to_caller(self, position: int) -> None:
        self.protocol.receive([self.to_caller[position % len(self.to_caller)]], self.now)
        self._take()

    # The caller.

    @rule(
        count=st.integers(1, 4),
        seconds=st.sampled_from((None, None, 0.4, 2.0)),
        is_idempotent=st.booleans(),
    )
    def call(self, count: int, seconds: float | None, *, is_idempotent: bool) -> None:
        for _ in range(count):
            self._call(seconds, is_idempotent=is_idempotent)

    def _call(self, seconds: float | None, *, is_idempotent: bool) -> None:
        waiter = next(self.waiters)
        method, arguments = (VALUE, ()) if is_idempotent else (INCREMENT, (waiter,))
        deadline = None if seconds is None else self.now + seconds
        self.protocol.call(method, arguments, now=self.now, deadline=deadline, waiter=waiter)
        self.made.add(waiter)
        self._take()

    @precondition(lambda self: self.protocol.session.pending)
    @rule(position=st.integers(0, 100))
    def cancel(self, position: int) -> None:
        pending = list(self.protocol.session.pending.values())
        call = pending[position % len(pending)]
        self.protocol.cancel(call)
        self.cancelled.add(call.waiter)
        self._take()

    @rule(seconds=st.sampled_from((0.01, 0.1, 0.6, 3.5)))
    def pass_time(self, seconds: float) -> None:
        """Move from one due time to the next, as the driver's timer does."""
        until = self.now + seconds
        while (due := self.protocol.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.protocol.time_passed(self.now)
            self._take()
        self.now = until

    # The network and the host.

    @precondition(lambda self: self.to_host)
    @rule(position=st.integers(0, 100), is_kept=st.booleans())
    def deliver_to_host(self, position: int, *, is_kept: bool) -> None:
        """In any order; a frame that is kept comes again."""
        self._deliver_to_host(position)
        if not is_kept:
            del self.to_host[position % len(self.to_host)]

    @precondition(lambda self: self.to_caller)
    @rule(position=st.integers(0, 100), is_kept=st.booleans())
    def deliver_to_caller(self, position: int, *, is_kept: bool) -> None:
        link, count = self.link, len(self.to_caller)
        frame = self.to_caller[position % count]
        self._deliver_to_caller(position)
        if not is_kept and link == self.link:
            self.to_caller.remove(frame)

    @rule(is_to_host=st.booleans(), position=st.integers(0, 100))
    def lose(self, *, is_to_host: bool, position: int) -> None:
        bag: list[Any] = self.to_host if is_to_host else self.to_caller
        if bag:
            del bag[position % len(bag)]

    @precondition(lambda self: self.sent)
    @rule(position=st.integers(0, REMEMBERED))
    def repeat_old(self, position: int) -> None:
        """Deliver a frame of long ago once more; its link may have been left since."""
        self.to_host.insert(0, self.sent[position % len(self.sent)])
        self._deliver_to_host(0)
        del self.to_host[0]

    @rule()
    def execute_all(self) -> None:
        """Let the host be quick, and its answers wait in the network."""
        while self.to_host:
            self._deliver_to_host(0)
            del self.to_host[0]
        while self.host.running:
            self.to_caller += self.host.finish(0)

    @rule()
    def finish_all(self) -> None:
        """Let the host be quick, and the network good."""
        self.be_good()
        while self.host.running:
            self.to_caller += self.host.finish(-1)
        self.be_good()

    @rule()
    def be_good(self) -> None:
        """Deliver all there is, in its order: what only happens while bound is tried often so."""
        for _ in range(100):
            while self.to_host:
                self._deliver_to_host(0)
                del self.to_host[0]
            while self.to_caller:
                link = self.link
                self._deliver_to_caller(0)
                if link == self.link:
                    del self.to_caller[0]
            if not self.to_host:
                return

    @precondition(lambda self: self.host.running)
    @rule(position=st.integers(0, 100))
    def finish(self, position: int) -> None:
        self.to_caller += self.host.finish(position)

    @rule(is_bound_again=st.booleans())
    def lose_link(self, *, is_bound_again: bool) -> None:
        """The caller connects anew. What it had sent may still reach the host."""
        self.protocol.link_lost(Unreachable("the link broke"))
        self._take()
        if self.protocol.state is State.DOWN:
            self._open()
        if is_bound_again:
            self.be_good()

    @rule(is_bound_again=st.booleans())
    def restart_host(self, *, is_bound_again: bool) -> None:
        """The host forgets everything; its links break."""
        self.hosts += 1
        self.is_forgetful = True
        self.host = Host(b"%d" % (self.hosts % 10) * 16, self.executed)
        self.to_host.clear()
        self.sent.clear()
        self.lose_link(is_bound_again=is_bound_again)

    @precondition(lambda self: self.host.sessions and not self.host.running)
    @rule()
    def forget_sessions(self) -> None:
        """The host drops sessions that were idle, for longer than any frame is under way."""
        self.is_forgetful = True
        self.host.sessions.clear()
        self.to_host.clear()
        self.sent.clear()
        self.lose_link(is_bound_again=True)

    # What must hold.

    @invariant()
    def no_call_runs_twice(self) -> None:
        """But for `value`, which says that it may."""
        twice = [waiter for waiter, count in self.executed.items() if waiter and count > 1]
        assert [] == twice

    @invariant()
    def every_answer_is_the_right_one(self) -> None:
        for waiter, outcome in self.answers.items():
            self._check(waiter, outcome)

    def _check(self, waiter: int, outcome: Any) -> None:
        assert waiter in self.made
        if isinstance(outcome, wire.Reply):
            assert msgspec.msgpack.decode(outcome.result) in (waiter, 0)
            return
        error = decode_failure(outcome) if isinstance(outcome, wire.Failure) else outcome
        assert isinstance(error, LiferaftError)
        if isinstance(error, OutcomeUnknown) and not isinstance(error, SessionExpired):
            return
        assert isinstance(error, DeadlineExceeded | SessionExpired | Unreachable), error
        if isinstance(error, SessionExpired):
            assert self.is_forgetful

    @invariant()
    def replies_that_are_kept_are_bounded(self) -> None:
        for session in self.host.sessions.values():
            assert len(session._replies) <= REPLIES_MAX
            assert session.reply_bytes == sum(map(len, session._replies.values()))
            assert session.reply_bytes <= REPLY_BYTES_MAX

    @invariant()
    def calls_are_pending_or_have_their_outcome(self) -> None:
        pending = {call.waiter for call in self.protocol.session.pending.values()}
        assert self.made == pending | set(self.answers) | self.cancelled
        assert not pending & set(self.answers)

    def teardown(self) -> None:
        """Once the network is good, every call gets its outcome in bounded time."""
        for _ in range(200):
            if not self.protocol.session.pending:
                break
            self.finish_all()
            self.pass_time(0.5)
        self.no_call_runs_twice()
        self.every_answer_is_the_right_one()
        assert not self.protocol.session.pending, "a call is stuck"


SessionMachine.TestCase.settings = machine_settings(examples=300, steps=50)
TestSessionMachine = pytest.mark.slow(SessionMachine.TestCase)
