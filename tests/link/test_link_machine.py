"""Any order of sends, leaks, cuts, pauses and ends: what arrives is what the leaks let through.

The model knows of each frame under which leak it was sent, and whether anything since could have
lost it. Nothing is invented; a frame comes twice only where that was asked for; frames keep their
order where nothing was asked that changes it; and what nothing could lose, arrives.
"""

import asyncio
from collections import Counter as Multiset
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from liferaft.errors import ConnectionLost
from liferaft.link.address import Address
from liferaft.link.leak import Leak
from liferaft.link.leaky import LeakySocket
from liferaft.link.memory import MemoryNetwork
from liferaft.sim.loop import VirtualLoop
from tests.link.recorder import Recorder, make_pair, pass_turns
from tests.profiles import machine_settings

CHANCE = st.sampled_from((0.0, 0.0, 0.3, 1.0))


@st.composite
def leaks(draw: Callable[[Any], Any]) -> Leak:
    low = draw(st.sampled_from((0.0, 0.0, 0.05)))
    return Leak(
        loss=draw(CHANCE),
        duplicate=draw(CHANCE),
        reorder=draw(CHANCE),
        delay_min=low,
        delay_max=low + draw(st.sampled_from((0.0, 0.0, 0.2))),
        bytes_per_second=draw(st.sampled_from((0.0, 0.0, 1000.0))),
        is_cut=draw(st.sampled_from((False, False, False, True))),
    )


ORDERLY = st.builds(
    lambda delay, rate: Leak(delay_min=delay, delay_max=delay, bytes_per_second=rate),
    st.sampled_from((0.05, 0.5)),
    st.sampled_from((0.0, 100.0)),
)
"""Leaks that hold frames for long, lose none and keep their order."""


@dataclass
class Sent:
    """One frame: the leak under which it was sent, and whether it may be lost by now."""

    leak: Leak
    epoch: int
    may_be_lost: bool


class Direction:
    """The model of one direction. The leak of an epoch is the same for all of its frames."""

    def __init__(self) -> None:
        self.leak = Leak()
        self.epoch = 0
        self.sent: dict[bytes, Sent] = {}

    def set(self, leak: Leak) -> None:
        self.leak = leak
        self.epoch += 1

    def send(self, frame: bytes, *, is_open: bool) -> None:
        leak = self.leak
        may_be_lost = bool(leak.loss) or leak.is_cut or not is_open
        self.sent[frame] = Sent(leak, self.epoch, may_be_lost)

    def lose_what_is_under_way(self, arrived: list[bytes]) -> None:
        here = set(arrived)
        for frame, sent in self.sent.items():
            sent.may_be_lost = sent.may_be_lost or frame not in here

    def check(self, arrived: list[bytes]) -> None:
        counts = Multiset(arrived)
        assert set(counts) <= set(self.sent), "a frame was invented"
        for frame, count in counts.items():
            assert count <= (2 if self.sent[frame].leak.duplicate else 1), "a frame came too often"
        by_epoch: dict[int, list[bytes]] = {}
        for frame in arrived:
            sent = self.sent[frame]
            if not sent.leak.reorder and sent.leak.delay_min == sent.leak.delay_max:
                by_epoch.setdefault(sent.epoch, []).append(frame)
        for frames in by_epoch.values():
            assert frames == sorted(frames), "the order changed, and nobody asked for that"

    def check_all_arrived(self, arrived: list[bytes]) -> None:
        missing = {frame for frame, sent in self.sent.items() if not sent.may_be_lost}
        assert missing <= set(arrived), "a frame is lost, and nothing could have lost it"


class LinkMachine(RuleBasedStateMachine):
    """A LeakySocket here, around a memory link, whose other end is plain."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.loop = VirtualLoop()
        self.failures: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self.number = 0
        self.outgoing, self.incoming = Direction(), Direction()
        self.ended_by: str | None = None
        self.was_cut_at_end = False
        self.run(self._connect(seed))

    async def _connect(self, seed: int) -> None:
        connecting, accepted, _ = await make_pair(MemoryNetwork(), Address("memory", "here"))
        self.leaky = LeakySocket(connecting, Random(seed))
        self.plain = accepted
        self.here, self.there = Recorder(self.leaky), Recorder(accepted)
        await pass_turns()

    def run(self, work: Any) -> None:
        self.loop.run_until_complete(work)

    def do(self, *actions: Callable[[], None]) -> None:
        """Carry actions out on the loop, in one turn of it."""

        async def carry_out() -> None:
            for action in actions:
                action()

        self.run(carry_out())

    @rule(is_outgoing=st.booleans(), count=st.integers(1, 30))
    def send(self, *, is_outgoing: bool, count: int) -> None:
        direction, link = (
            (self.outgoing, self.leaky) if is_outgoing else (self.incoming, self.plain)
        )
        frames = [(self.number + n).to_bytes(4, "big") for n in range(count)]
        self.number += count
        for frame in frames:
            direction.send(frame, is_open=self.ended_by is None)
        self.do(*[partial(link.send, frame) for frame in frames])

    @rule(is_outgoing=st.booleans(), leak=st.one_of(leaks(), ORDERLY))
    def leak(self, *, is_outgoing: bool, leak: Leak) -> None:
        # What is still in the memory link meets the leak that is there when it comes.
        self.run(pass_turns())
        if is_outgoing:
            self.do(lambda: setattr(self.leaky, "outgoing", leak))
        else:
            self.do(lambda: setattr(self.leaky, "incoming", leak))
        direction, arrived = (
            (self.outgoing, self.there.frames) if is_outgoing else (self.incoming, self.here.frames)
        )
        direction.set(leak)
        self.was_cut_at_end = self.was_cut_at_end and self.incoming.leak.is_cut
        if leak.is_cut:
            direction.lose_what_is_under_way(arrived)

    @rule(seconds=st.sampled_from((0.0, 0.01, 0.1, 1.0)))
    def pass_time(self, seconds: float) -> None:
        self.run(pass_turns())
        self.run(asyncio.sleep(seconds))

    @precondition(lambda self: self.ended_by is None)
    @rule(is_here=st.booleans(), is_abort=st.booleans(), is_meant=st.booleans())
    def end(self, *, is_here: bool, is_abort: bool, is_meant: bool) -> None:
        """End the link from one side; seldom, for little happens afterwards."""
        if not is_meant:
            return
        self.run(pass_turns())
        self.ended_by = "here" if is_here else "there"
        self.was_cut_at_end = self.incoming.leak.is_cut
        # Who ends it hears nothing more; what it had sent still arrives if it closes in peace.
        receiving, sending = (
            (self.incoming, self.outgoing) if is_here else (self.outgoing, self.incoming)
        )
        arrived = (self.here, self.there) if is_here else (self.there, self.here)
        receiving.lose_what_is_under_way(arrived[0].frames)
        if is_abort:
            sending.lose_what_is_under_way(arrived[1].frames)
        link = self.leaky if is_here else self.plain
        self.do(link.abort if is_abort else link.close)

    @invariant()
    def what_arrived_may_have(self) -> None:
        self.outgoing.check(self.there.frames)
        self.incoming.check(self.here.frames)

    @invariant()
    def the_end_is_told_once(self) -> None:
        """And as the last callback: the recorders fail otherwise. It is not seen through a cut."""
        assert [] == self.failures
        assert len(self.here.ends) <= 1
        assert len(self.there.ends) <= 1
        if self.ended_by is None:
            assert [] == self.here.ends == self.there.ends
        if self.ended_by == "there" and self.was_cut_at_end and self.incoming.leak.is_cut:
            assert [] == self.here.ends

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.pass_time(10.0)
        self.the_end_is_told_once()
        if self.outgoing.leak.is_cut:
            self.leak(is_outgoing=True, leak=Leak())
        if self.incoming.leak.is_cut:
            self.leak(is_outgoing=False, leak=Leak())
        self.run(asyncio.sleep(60.0))
        self.what_arrived_may_have()
        self.outgoing.check_all_arrived(self.there.frames)
        self.incoming.check_all_arrived(self.here.frames)
        if self.ended_by is not None:
            here, there = self.here.ends[0], self.there.ends[0]
            own, others = (here, there) if self.ended_by == "here" else (there, here)
            assert own is None
            assert isinstance(others, ConnectionLost)
        self.loop.close()


LinkMachine.TestCase.settings = machine_settings(examples=200, steps=30)
TestLinkMachine = pytest.mark.slow(LinkMachine.TestCase)
