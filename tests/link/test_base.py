"""The contract of base.py, kept by every kind of link, on asyncio's loop and on uvloop's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from liferaft.errors import AddressError, ConnectionLost, InvalidArgument, Unreachable
from liferaft.link.address import Address, parse_address
from liferaft.link.base import HIGH_WATER_BYTES, Link, Network
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.link.system import SystemNetwork
from tests.link.recorder import Acceptor, Recorder, end_all, make_pair, pass_turns

FRAME_BYTES_MAX = 8 * 1024 * 1024


@pytest.fixture(params=["tcp", "unix", "memory", "leaky tcp", "leaky memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def network(kind: str) -> Network:
    inner: Network
    if kind.endswith("memory"):
        inner = MemoryNetwork(frame_bytes_max=FRAME_BYTES_MAX)
    else:
        inner = SystemNetwork(frame_bytes_max=FRAME_BYTES_MAX)
    return LeakyNetwork(inner, seed=1) if kind.startswith("leaky") else inner


@pytest.fixture
def address(kind: str, tmp_path: Path) -> Address:
    if kind == "unix":
        return parse_address(f"unix:{tmp_path / 'socket'}")
    return parse_address("memory:here" if kind.endswith("memory") else "127.0.0.1:0")


@pytest.fixture
async def pair(network: Network, address: Address) -> AsyncIterator[tuple[Link, Link]]:
    connecting, accepted, listener = await make_pair(network, address)
    yield connecting, accepted
    await end_all(connecting, accepted)
    await listener.close()


class TestFrames:
    async def test_frames_arrive_whole_and_in_order_in_both_directions(
        self, pair: tuple[Link, Link]
    ) -> None:
        here, there = map(Recorder, pair)
        frames = [bytes([number % 256]) * (1 + number * 7) for number in range(300)]
        for frame in frames:
            here.link.send(frame)
            there.link.send(frame)

        assert frames == await there.wait_frames(300)
        assert frames == await here.wait_frames(300)

    async def test_the_largest_frame_arrives_between_small_ones(
        self, pair: tuple[Link, Link]
    ) -> None:
        here, there = map(Recorder, pair)
        frames = [b"first", b"L" * FRAME_BYTES_MAX, b"l" * 70_000, b"last"]
        for frame in frames:
            here.link.send(frame)

        assert frames == await there.wait_frames(4)

    async def test_frames_that_arrive_before_the_start_are_kept(
        self, pair: tuple[Link, Link]
    ) -> None:
        connecting, accepted = pair
        connecting.send(b"one")
        await pass_turns()
        connecting.send(b"two")
        await pass_turns()
        there = Recorder(accepted)

        assert [b"one", b"two"] == await there.wait_frames(2)

    async def test_nothing_is_delivered_from_inside_start(self, pair: tuple[Link, Link]) -> None:
        connecting, accepted = pair
        connecting.send(b"early")
        await pass_turns()
        there = Recorder(accepted)
        at_once = list(there.frames)
        await there.wait_frames(1)

        assert [] == at_once

    @pytest.mark.parametrize("frame", [b"", bytes(FRAME_BYTES_MAX + 1)], ids=["empty", "too large"])
    async def test_a_frame_that_the_other_side_would_refuse_is_refused_here(
        self, pair: tuple[Link, Link], frame: bytes
    ) -> None:
        here, there = map(Recorder, pair)
        with pytest.raises(InvalidArgument, match=f"this one has {len(frame)}"):
            here.link.send(frame)
        here.link.send(b"goes on")

        assert [b"goes on"] == await there.wait_frames(1)


class TestEnd:
    async def test_close_lets_what_was_sent_leave_first(self, pair: tuple[Link, Link]) -> None:
        here, there = map(Recorder, pair)
        frames = [b"x" * 100_000] * 30
        for frame in frames:
            here.link.send(frame)
        here.link.close()
        reason = await there.wait_end()

        assert frames == there.frames
        assert isinstance(reason, ConnectionLost)

    @pytest.mark.parametrize("way", ["close", "abort"])
    async def test_both_sides_learn_of_the_end_once(
        self, pair: tuple[Link, Link], way: str
    ) -> None:
        here, there = map(Recorder, pair)
        await pass_turns()
        getattr(here.link, way)()
        ends_at_once = list(here.ends)
        getattr(here.link, way)()
        here.link.abort()
        await here.wait_end()
        await there.wait_end()
        there.link.close()
        await here.link.wait_closed()
        await there.link.wait_closed()
        await pass_turns()

        assert [] == ends_at_once
        assert [None] == here.ends
        assert [ConnectionLost] == [type(end) for end in there.ends]
        assert here.link.is_closed
        assert there.link.is_closed

    async def test_the_loss_names_the_peer(self, pair: tuple[Link, Link]) -> None:
        here, there = map(Recorder, pair)
        there.link.close()
        reason = await here.wait_end()

        assert here.link.peer in str(reason)

    async def test_sending_on_a_closed_link_loses_the_frame(self, pair: tuple[Link, Link]) -> None:
        here, there = map(Recorder, pair)
        here.link.send(b"before")
        here.link.close()
        here.link.send(b"after")
        await there.wait_end()
        there.link.send(b"to nobody")
        await pass_turns()

        assert [b"before"] == there.frames
        assert [] == here.frames

    async def test_no_frame_is_delivered_after_close(self, pair: tuple[Link, Link]) -> None:
        here, there = map(Recorder, pair)
        await pass_turns()
        there.link.send(b"too late")
        here.link.close()
        await here.wait_end()
        await there.wait_end()

        assert [] == here.frames

    async def test_a_link_closed_before_its_start_tells_its_end_when_started(
        self, pair: tuple[Link, Link]
    ) -> None:
        connecting, accepted = pair
        connecting.close()
        await connecting.wait_closed()
        here = Recorder(connecting)
        there = Recorder(accepted)

        assert await here.wait_end() is None
        assert isinstance(await there.wait_end(), ConnectionLost)

    async def test_a_receiver_may_end_the_link_while_it_takes_frames(
        self, pair: tuple[Link, Link]
    ) -> None:
        class Impatient(Recorder):
            def frames_received(self, frames: list[bytes]) -> None:
                super().frames_received(frames)
                self.link.abort()

        here, there = Recorder(pair[0]), Impatient(pair[1])
        here.link.send(b"enough")

        assert await there.wait_end() is None
        assert isinstance(await here.wait_end(), ConnectionLost)


class TestPressure:
    async def test_sending_is_paused_above_the_mark_and_resumed_below(
        self, pair: tuple[Link, Link]
    ) -> None:
        connecting, accepted = pair
        here = Recorder(connecting)
        count = 40
        # The other end does not read yet, and this is far above what sockets buffer.
        for _ in range(count):
            here.link.send(b"x" * HIGH_WATER_BYTES)
        await here.wait_until(lambda here: here.pressure == ["paused"])
        there = Recorder(accepted)
        await there.wait_frames(count)
        await here.wait_until(lambda here: here.pressure == ["paused", "resumed"])
        here.link.send(b"more")

        assert b"more" == (await there.wait_frames(count + 1))[-1]


class TestListening:
    async def test_connecting_where_nobody_listens_is_unreachable(
        self, network: Network, address: Address
    ) -> None:
        listener = await network.listen(address, Acceptor())
        await listener.close()
        with pytest.raises(Unreachable, match="nobody answered at") as caught:
            await network.connect(listener.address)

        assert str(listener.address) in str(caught.value)

    async def test_an_address_in_use_is_refused_with_advice(
        self, network: Network, address: Address
    ) -> None:
        listener = await network.listen(address, Acceptor())
        with pytest.raises(AddressError, match=r"is in use .* choose another") as caught:
            await network.listen(listener.address, Acceptor())
        await listener.close()

        assert str(listener.address) in str(caught.value)

    async def test_a_closed_listener_frees_its_address_and_its_links_live_on(
        self, network: Network, address: Address
    ) -> None:
        connecting, accepted, first = await make_pair(network, address)
        here, there = Recorder(connecting), Recorder(accepted)
        await first.close()
        await first.close()
        second = await network.listen(first.address, Acceptor())
        here.link.send(b"still here")
        frames = await there.wait_frames(1)
        await end_all(connecting, accepted)
        await second.close()

        assert [b"still here"] == frames

    async def test_each_accepted_link_has_a_name_of_its_own(
        self, network: Network, address: Address
    ) -> None:
        acceptor = Acceptor()
        listener = await network.listen(address, acceptor)
        connected = [await network.connect(listener.address) for _ in range(3)]
        accepted = [await acceptor.next_link() for _ in range(3)]
        names = {link.peer for link in accepted}
        await end_all(*connected, *accepted)
        await listener.close()

        assert 3 == len(names)
        assert {str(listener.address)} == {link.peer for link in connected}
