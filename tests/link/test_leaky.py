"""LeakySocket: each direction by itself, settings that change, and how ends go with faults."""

import asyncio
from random import Random

import pytest

from liferaft.errors import ConnectionLost, LiferaftError, ProtocolError
from liferaft.link.address import Address
from liferaft.link.base import HIGH_WATER_BYTES, Link, Receiver
from liferaft.link.frames import Gathered, Sendable
from liferaft.link.leak import Leak, LeakCounts
from liferaft.link.leaky import LeakySocket, LeakyStatistics
from liferaft.link.memory import MemoryNetwork
from tests.link.recorder import Recorder, make_pair, pass_turns

pytestmark = pytest.mark.looptime

SLOW = Leak(delay_min=1, delay_max=1)
CUT = Leak(is_cut=True)


class Pair:
    """A leaky end and the plain other end of one memory link, both recorded."""

    def __init__(self, leaky: LeakySocket, other: Link) -> None:
        self.leaky = leaky
        self.here = Recorder(leaky)
        self.there = Recorder(other)


async def leaky_pair(
    *, seed: int = 1, outgoing: Leak | None = None, incoming: Leak | None = None
) -> Pair:
    connecting, accepted, _ = await make_pair(MemoryNetwork(), Address("memory", "here"))
    leaky = LeakySocket(connecting, Random(seed), outgoing=outgoing, incoming=incoming)
    pair = Pair(leaky, accepted)
    await pass_turns()
    return pair


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


class TestDirections:
    async def test_outgoing_faults_leave_incoming_frames_alone(self) -> None:
        pair = await leaky_pair(outgoing=Leak(loss=1))
        pair.leaky.send(b"lost")
        pair.there.link.send(b"arrives")
        await asyncio.sleep(1)

        assert [] == pair.there.frames
        assert [b"arrives"] == pair.here.frames

    async def test_incoming_faults_leave_outgoing_frames_alone(self) -> None:
        pair = await leaky_pair(incoming=Leak(loss=1))
        pair.leaky.send(b"arrives")
        pair.there.link.send(b"lost")
        await asyncio.sleep(1)

        assert [b"arrives"] == pair.there.frames
        assert [] == pair.here.frames

    async def test_one_direction_s_traffic_does_not_change_the_other_s_fate(self) -> None:
        arrived = []
        for backwards in (0, 500):
            pair = await leaky_pair(outgoing=Leak(loss=0.5), incoming=Leak(loss=0.5))
            for frame in numbered(backwards):
                pair.there.link.send(frame)
            await asyncio.sleep(1)
            for frame in numbered(200):
                pair.leaky.send(frame)
            await asyncio.sleep(1)
            arrived.append(pair.there.frames)

        assert arrived[0] == arrived[1]

    async def test_what_is_held_is_what_was_sent_whatever_becomes_of_its_buffers(self) -> None:
        pair = await leaky_pair(outgoing=SLOW)
        data = bytearray(b"sent")
        pair.leaky.send(Gathered([b"as ", memoryview(data)]))
        data[:] = b"lost"
        await asyncio.sleep(2)

        assert [b"as sent"] == pair.there.frames

    async def test_settings_change_while_it_runs(self) -> None:
        pair = await leaky_pair()
        for leak in (Leak(), Leak(loss=1), SLOW, Leak()):
            pair.leaky.outgoing = leak
            pair.leaky.send(repr(leak).encode())
        await asyncio.sleep(2)

        assert [repr(leak).encode() for leak in (Leak(), Leak(), SLOW)] == pair.there.frames
        assert Leak() == pair.leaky.outgoing

    async def test_frames_without_delay_arrive_in_one_batch(self) -> None:
        pair = await leaky_pair(outgoing=Leak(loss=0.1), incoming=Leak(loss=0.1))
        for frame in numbered(100):
            pair.leaky.send(frame)
            pair.there.link.send(frame)
        await asyncio.sleep(1)

        assert 1 == len(pair.here.batches)
        assert 1 == len(pair.there.batches)

    async def test_statistics_tell_the_directions_apart(self) -> None:
        pair = await leaky_pair(outgoing=Leak(loss=1), incoming=Leak(duplicate=1))
        pair.leaky.send(b"lost")
        pair.there.link.send(b"twice")
        await asyncio.sleep(1)

        assert [b"twice", b"twice"] == pair.here.frames
        assert (
            LeakyStatistics(
                outgoing=LeakCounts(sent=1, lost=1),
                incoming=LeakCounts(sent=1, delivered=2, duplicated=1),
            )
            == pair.leaky.statistics()
        )


class TestCut:
    async def test_a_cut_link_seems_open_and_carries_nothing(self) -> None:
        pair = await leaky_pair()
        pair.leaky.cut()
        pair.leaky.send(b"out")
        pair.there.link.send(b"in")
        await asyncio.sleep(1000)
        was_open = not pair.leaky.is_closed
        pair.leaky.heal()
        pair.leaky.send(b"out again")
        pair.there.link.send(b"in again")
        await asyncio.sleep(1)

        assert was_open
        assert [b"out again"] == pair.there.frames
        assert [b"in again"] == pair.here.frames

    @pytest.mark.parametrize("outgoing", [True, False])
    async def test_one_direction_can_be_cut_and_healed(self, outgoing: bool) -> None:
        pair = await leaky_pair()
        pair.leaky.cut(outgoing=outgoing, incoming=not outgoing)
        pair.leaky.send(b"out")
        pair.there.link.send(b"in")
        await asyncio.sleep(1)
        pair.leaky.heal(outgoing=outgoing, incoming=not outgoing)

        assert ([] if outgoing else [b"out"]) == pair.there.frames
        assert ([b"in"] if outgoing else []) == pair.here.frames
        assert Leak() == pair.leaky.outgoing == pair.leaky.incoming

    async def test_a_cut_keeps_the_other_settings(self) -> None:
        pair = await leaky_pair(outgoing=SLOW)
        pair.leaky.cut()
        pair.leaky.heal()

        assert SLOW == pair.leaky.outgoing

    async def test_the_peer_s_end_is_not_seen_through_a_cut(self) -> None:
        pair = await leaky_pair()
        pair.leaky.cut(outgoing=False)
        pair.there.link.close()
        await asyncio.sleep(1000)
        ends_while_cut = list(pair.here.ends)
        was_open = not pair.leaky.is_closed
        pair.leaky.heal()
        await asyncio.sleep(1)

        assert [] == ends_while_cut
        assert was_open
        assert [ConnectionLost] == [type(end) for end in pair.here.ends]
        assert pair.leaky.is_closed

    async def test_a_link_whose_hidden_peer_has_left_can_be_closed(self) -> None:
        pair = await leaky_pair()
        pair.leaky.cut()
        pair.there.link.close()
        await asyncio.sleep(1)
        pair.leaky.close()
        ends_inside_close = list(pair.here.ends)
        await pair.leaky.wait_closed()
        await pass_turns()

        assert [] == ends_inside_close
        assert [None] == pair.here.ends


class TestParts:
    """A frame that takes long for its length comes in parts, as on a real line."""

    async def test_they_are_told_until_it_is_whole(self) -> None:
        pair = await leaky_pair(incoming=Leak(bytes_per_second=1000))
        for _ in range(2):
            pair.there.link.send(bytes(3000))
            await asyncio.sleep(0.01)
        await asyncio.sleep(2.9)
        while_it_comes = pair.here.parts
        await asyncio.sleep(10)

        assert (11, 23) == (while_it_comes, pair.here.parts)
        assert 2 == len(pair.here.frames)

    async def test_nothing_is_told_of_what_is_cut_off_or_closed(self) -> None:
        pair = await leaky_pair(incoming=Leak(bytes_per_second=1000))
        pair.there.link.send(bytes(9000))
        await asyncio.sleep(1.1)
        pair.leaky.cut()
        before = pair.here.parts
        await asyncio.sleep(1)
        while_cut = pair.here.parts - before
        pair.leaky.heal()
        await asyncio.sleep(0.3)
        once_healed = pair.here.parts - before
        pair.leaky.close()
        await asyncio.sleep(3)

        assert [4, 0, 1] == [before, while_cut, once_healed]
        assert once_healed == pair.here.parts - before

    async def test_a_part_within_the_link_inside_is_told(self) -> None:
        pair = await leaky_pair()
        pair.leaky.bytes_received()
        pair.leaky.cut()
        pair.leaky.bytes_received()
        pair.leaky.heal()
        pair.leaky.close()
        pair.leaky.bytes_received()

        assert 1 == pair.here.parts


class TestEnds:
    async def test_close_lets_held_frames_go_first(self) -> None:
        pair = await leaky_pair(outgoing=SLOW)
        pair.leaky.send(b"farewell")
        pair.leaky.close()
        pair.leaky.send(b"too late")
        is_closed_at_once = pair.leaky.is_closed
        await pair.there.wait_end()
        await pair.leaky.wait_closed()
        await pass_turns()

        assert is_closed_at_once
        assert [b"farewell"] == pair.there.frames
        assert [None] == pair.here.ends

    async def test_a_closing_link_ends_although_it_is_cut(self) -> None:
        pair = await leaky_pair(outgoing=SLOW)
        pair.leaky.send(b"farewell")
        pair.leaky.close()
        pair.leaky.cut()
        await pair.leaky.wait_closed()
        await pass_turns()

        assert [] == pair.there.frames
        assert [None] == pair.here.ends

    @pytest.mark.parametrize("way", ["abort", "reset"])
    async def test_abort_and_reset_lose_what_is_held(self, way: str) -> None:
        pair = await leaky_pair(outgoing=SLOW, incoming=SLOW)
        pair.leaky.send(b"lost")
        pair.there.link.send(b"lost")
        await pass_turns()
        getattr(pair.leaky, way)()
        await asyncio.sleep(5)

        assert [] == pair.there.frames
        assert [] == pair.here.frames
        assert [None] == pair.here.ends
        assert [ConnectionLost] == [type(end) for end in pair.there.ends]

    async def test_the_peer_s_end_comes_behind_the_frames_that_it_sent(self) -> None:
        pair = await leaky_pair(incoming=SLOW)
        pair.there.link.send(b"farewell")
        pair.there.link.close()
        reason = await pair.here.wait_end()

        assert [b"farewell"] == pair.here.frames
        assert isinstance(reason, ConnectionLost)

    async def test_nothing_arrives_after_close(self) -> None:
        pair = await leaky_pair(outgoing=SLOW, incoming=SLOW)
        pair.leaky.send(b"keeps the link open for a second")
        pair.there.link.send(b"held")
        await pass_turns()
        pair.leaky.close()
        pair.there.link.send(b"late")
        await asyncio.sleep(5)

        assert [] == pair.here.frames
        assert [None] == pair.here.ends

    async def test_no_timer_is_left_when_the_link_has_ended(self) -> None:
        pair = await leaky_pair(outgoing=SLOW, incoming=SLOW)
        pair.leaky.send(b"held")
        pair.there.link.send(b"held")
        await pass_turns()
        pair.leaky.abort()
        await pair.here.wait_end()

        assert pair.leaky._outgoing._timer is None
        assert pair.leaky._incoming._timer is None


class ScriptedLink:
    """A link inside, of which the test plays all that happens."""

    peer = "the script"
    is_closed = False

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.receiver: Receiver

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def send(self, frame: Sendable) -> None:
        self.calls.append("send")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    async def wait_closed(self) -> None:
        self.calls.append("wait_closed")


class TestInside:
    async def test_a_broken_protocol_shows_through_everything(self) -> None:
        """It is this side that ended the link: no line hides that."""
        inside = ScriptedLink()
        here = Recorder(LeakySocket(inside, Random(1), incoming=CUT))
        reason: LiferaftError = ProtocolError("garbage")
        inside.receiver.link_closed(reason)

        assert [reason] == here.ends

    async def test_pressure_inside_and_held_frames_are_told_as_one(self) -> None:
        inside = ScriptedLink()
        leaky = LeakySocket(inside, Random(1), outgoing=SLOW)
        here = Recorder(leaky)
        inside.receiver.sending_paused()
        leaky.send(b"x" * (HIGH_WATER_BYTES + 1))
        await pass_turns()
        inside.receiver.sending_resumed()
        told_while_held = list(here.pressure)
        await asyncio.sleep(2)

        assert ["paused"] == told_while_held
        assert ["paused", "resumed"] == here.pressure

    async def test_pressure_is_not_told_after_close(self) -> None:
        inside = ScriptedLink()
        leaky = LeakySocket(inside, Random(1))
        here = Recorder(leaky)
        leaky.close()
        inside.receiver.sending_paused()
        await pass_turns()

        assert [] == here.pressure

    async def test_the_owner_learns_of_the_end_once(self) -> None:
        ended: list[LeakySocket] = []
        inside = ScriptedLink()
        leaky = LeakySocket(inside, Random(1), ended=ended.append)
        Recorder(leaky)
        leaky.abort()
        inside.receiver.link_closed(None)
        leaky.close()
        await pass_turns()

        assert [leaky] == ended

    async def test_the_owner_learns_of_a_link_that_was_never_started(self) -> None:
        ended: list[LeakySocket] = []
        leaky = LeakySocket(ScriptedLink(), Random(1), ended=ended.append)
        leaky.close()

        assert [leaky] == ended
