"""The host's side of the handshake and its limits, spoken to frame by frame."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import Protocol

import msgspec
import pytest

from liferaft.errors import ConfigurationError, LiferaftError
from liferaft.link.address import Address, parse_address
from liferaft.link.base import Link
from liferaft.link.memory import MemoryListener, MemoryNetwork
from liferaft.rpc import wire
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import SWEEP_INTERVAL, WARNINGS_MAX, Limits
from tests.rpc.objects import Counter, CounterObject, Host, hosted

pytestmark = pytest.mark.looptime(noop_cycles=0)
SIGNATURES = Interface.of(Counter).signatures
HELLO = wire.Hello("liferaft", 1, b"s" * 16)
BIND = wire.Bind("", SIGNATURES, is_resumed=False)


class Peer:
    """A caller that says what a test has it say."""

    def __init__(self) -> None:
        self.heard: list[wire.Frame] = []
        self.link: Link
        self.is_closed = False

    async def connect(self, network: MemoryNetwork) -> "Peer":
        self.link = await network.connect(parse_address("memory:host"))
        self.link.start(self)
        return self

    async def say(self, *frames: wire.Frame) -> list[wire.Frame]:
        """Send frames; return what came back within a tenth of a second."""
        self.heard.clear()
        for frame in frames:
            self.link.send(encode(frame))
        await asyncio.sleep(0.1)
        return list(self.heard)

    def frames_received(self, frames: list[bytes]) -> None:
        self.heard += map(decode_frame, frames)

    def link_closed(self, reason: LiferaftError | None) -> None:
        self.is_closed = True

    def bytes_received(self) -> None: ...
    def sending_paused(self) -> None: ...
    def sending_resumed(self) -> None: ...


async def test_repeated_frames_of_the_handshake_are_answered_again() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter) as host:
        peer = await Peer().connect(network)
        welcome = wire.Welcome(1, host.server.incarnation, host.server.frame_bytes_max)
        greeted = await peer.say(HELLO, HELLO)
        bound = [await peer.say(BIND), await peer.say(BIND)]

    assert [welcome, welcome] == greeted
    assert [[wire.Bound("", "Counter", is_durable=False)]] * 2 == bound


async def test_a_binding_under_way_is_not_begun_again() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        peer = await Peer().connect(network)
        await peer.say(HELLO)

        assert 1 == len(await peer.say(BIND, BIND))


async def test_frames_before_the_greeting_are_ignored() -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    async with hosted(network, object_, Counter):
        peer = await Peer().connect(network)
        call = wire.Call(1, 1, "Counter", "increment", None, msgspec.Raw(b"\x91\x01"))

        assert [] == await peer.say(BIND, call, wire.Ping(1))
    assert 0 == object_.count


@pytest.mark.parametrize(
    "greeting", [wire.Hello("http", 1, b"s" * 16), wire.Hello("liferaft", 1, b"short")]
)
async def test_another_protocol_is_shown_the_door(greeting: wire.Hello) -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        peer = await Peer().connect(network)
        answers = await peer.say(greeting)

    assert [wire.Goodbye("what came is not understood", is_final=False)] == answers
    assert peer.is_closed


async def test_another_version_is_told_which_one_is_spoken() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        peer = await Peer().connect(network)
        answers = await peer.say(wire.Hello("liferaft", 2, b"s" * 16))

    assert [wire.Goodbye("this host speaks version 1 only", is_final=True)] == answers


@pytest.mark.parametrize("left", [-1.0, math.nan])
async def test_a_time_left_that_is_none_ends_the_link(left: float) -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    async with hosted(network, object_, Counter):
        peer = await Peer().connect(network)
        await peer.say(HELLO)
        await peer.say(BIND)
        await peer.say(wire.Call(1, 1, "", "increment", left, msgspec.Raw(b"\x91\x01")))

        assert (True, 0) == (peer.is_closed, object_.count)


async def test_a_link_has_one_session() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        peer = await Peer().connect(network)
        await peer.say(HELLO, wire.Hello("liferaft", 1, b"t" * 16))

        assert peer.is_closed


async def test_a_peer_that_falls_silent_is_dropped_after_a_while() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter) as host:
        peer = await Peer().connect(network)
        await peer.say(HELLO)
        await peer.say(BIND)
        await asyncio.sleep(host.server.limits.silence_max - 5)
        before = peer.is_closed
        await asyncio.sleep(15)

        assert (False, True) == (before, peer.is_closed)


async def test_connections_that_are_bound_keep_newcomers_out() -> None:
    network = MemoryNetwork()
    limits = Limits(connections_max=2)
    async with hosted(network, CounterObject(), Counter, limits=limits):
        peers = [await Peer().connect(network) for _ in range(2)]
        for peer in peers:
            await peer.say(HELLO)
            await peer.say(BIND)
        late = await Peer().connect(network)

        assert [] == await late.say(HELLO)
        assert [True, False, False] == [peer.is_closed for peer in (late, *peers)]


async def test_the_oldest_connection_that_is_not_bound_makes_room_for_a_newcomer() -> None:
    """Or a thousand connections that say nothing keep everybody out."""
    network = MemoryNetwork()
    limits = Limits(connections_max=3)
    async with hosted(network, CounterObject(), Counter, limits=limits):
        bound, silent, greeting, late = [await Peer().connect(network) for _ in range(4)]
        await asyncio.sleep(0.1)
        # The first of them was dropped for the fourth; it comes again.
        dropped = [peer.is_closed for peer in (bound, silent, greeting, late)]
        again = await Peer().connect(network)
        await again.say(HELLO)
        await again.say(BIND)

        assert [True, False, False, False] == dropped
        assert [True, False, False] == [peer.is_closed for peer in (silent, greeting, late)]
        assert [wire.Pong()] == await again.say(wire.Ping(1))


async def test_what_peers_do_wrong_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        with caplog.at_level(logging.WARNING, "liferaft.rpc"):
            for _ in range(500):
                peer = await Peer().connect(network)
                peer.link.send(b"\xc1")
            await asyncio.sleep(2 * SWEEP_INTERVAL)

    assert WARNINGS_MAX + 1 == len(caplog.records)
    assert "480 more warnings like these were left out" in caplog.records[-1].getMessage()


async def test_a_cancelled_call_stays_in_flight_until_its_method_has_ended() -> None:
    """Rapid reset (CVE-2023-44487): who cancels at once must not start methods without bound."""
    network, object_ = MemoryNetwork(), StubbornObject()
    limits = Limits(in_flight_max=5)
    async with hosted(network, object_, Stubborn, limits=limits):
        peer = await Peer().connect(network)
        await peer.say(HELLO)
        await peer.say(wire.Bind("", {}, is_resumed=False))
        answers = []
        for number in range(1, 21):
            call = wire.Call(number, 1, "", "linger", None, msgspec.Raw(b"\x90"))
            answers += await peer.say(call)
            answers += await peer.say(wire.Cancel(number))
        begun = object_.begun
        object_.end.set()
        await asyncio.sleep(0.1)
        after = await peer.say(wire.Call(21, 21, "", "linger", None, msgspec.Raw(b"\x90")))

    assert (5, 15) == (begun, len(answers))
    assert {"Overloaded"} == {
        answer.type_name for answer in answers if type(answer) is wire.Failure
    }
    assert wire.Reply is type(after[0])


async def test_a_copy_of_a_call_that_was_answered_gets_its_answer_whatever_is_in_flight() -> None:
    network, object_ = MemoryNetwork(), StubbornObject()
    async with hosted(network, object_, Stubborn, limits=Limits(in_flight_max=2)):
        peer = await Peer().connect(network)
        await peer.say(HELLO)
        await peer.say(wire.Bind("", {}, is_resumed=False))
        first, *others = [
            wire.Call(number, 1, "", "linger", None, msgspec.Raw(b"\x90")) for number in range(1, 5)
        ]
        object_.end.set()
        answer = await peer.say(first)
        object_.end.clear()
        refusals = await peer.say(*others)
        copy = await peer.say(first)
        working = await peer.say(others[0])
        object_.end.set()

    assert [wire.Reply(1, msgspec.Raw(b"\xc0"))] == answer == copy
    assert [4] == [frame.number for frame in refusals if isinstance(frame, wire.Failure)]
    assert [wire.Working(2)] == working


class Stubborn(Protocol):
    async def linger(self) -> None: ...


class StubbornObject:
    """Does not let itself be cancelled."""

    def __init__(self) -> None:
        self.begun = 0
        self.end = asyncio.Event()

    async def linger(self) -> None:
        self.begun += 1
        while not self.end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.end.wait()


@pytest.mark.parametrize(
    "bind",
    [
        wire.Bind("x" * 900_000, {}, is_resumed=False),
        wire.Bind("Counter", {"m" * 900_000: "t" * 90_000}, is_resumed=False),
        wire.Bind("Counter", {"value": "t" * 990_000}, is_resumed=False),
    ],
)
async def test_long_names_are_not_sent_back(bind: wire.Bind) -> None:
    """An answer that repeats them would be longer than a frame may be, and fail the host."""
    network = MemoryNetwork(frame_bytes_max=1_000_000)
    async with hosted(network, CounterObject(), Counter):
        peer = await Peer().connect(network)
        await peer.say(HELLO)
        [answer] = await peer.say(bind)

    assert len(encode(answer)) < 4_000


async def test_a_name_is_hosted_once() -> None:
    async with hosted(MemoryNetwork(), CounterObject(), Counter) as host:
        with pytest.raises(ConfigurationError, match="hosted here already"):
            host.server.host("Counter", host.dispatcher)


async def test_a_private_object_is_found_by_its_name_only() -> None:
    async with hosted(MemoryNetwork(), CounterObject(), Counter) as host:
        host.server.host("_peer", host.dispatcher)

        assert "Counter" == host.server.find("")[0]
        assert "_peer" == host.server.find("_peer")[0]


async def test_a_server_stops_twice_and_hears_no_more() -> None:
    network = MemoryNetwork()
    host = await Host(network, CounterObject(), Counter).start()
    peer = await Peer().connect(network)
    await peer.say(HELLO)
    await host.stop()
    await host.stop()
    await asyncio.sleep(0.1)

    assert (True, False) == (peer.is_closed, host.server.is_running)


async def test_a_copy_of_a_call_that_was_turned_away_is_turned_away_too() -> None:
    """The caller was told that nothing was executed; a link may repeat its frame all the same."""
    network = MemoryNetwork()
    counter = CounterObject()
    async with hosted(network, counter, Counter) as host:
        host.server.limits = Limits(in_flight_max=0)
        peer = await Peer().connect(network)
        await peer.say(HELLO, BIND)
        call = wire.Call(1, 1, "Counter", "increment", 1.0, msgspec.Raw(encode((1,))))
        first = await peer.say(call)
        host.server.limits = Limits()
        copy = await peer.say(call)
        again = await peer.say(msgspec.structs.replace(call, time_left=0.5))

    assert ["Overloaded"] == [getattr(frame, "type_name", "") for frame in first]
    assert first == copy
    assert [wire.Reply] == [type(frame) for frame in again]


async def test_who_is_accepted_as_the_host_stops_is_turned_away_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, accepts = MemoryNetwork(), list[Callable[[Link], None]]()
    listen = network.listen

    async def noting(address: Address, accept: Callable[[Link], None]) -> MemoryListener:
        accepts.append(accept)
        return await listen(address, accept)

    monkeypatch.setattr(network, "listen", noting)
    async with hosted(network, CounterObject(), Counter):
        pass
    listener = await listen(parse_address("memory:host"), accepts[0])
    peer = await Peer().connect(network)
    await asyncio.sleep(0.1)
    await listener.close()

    assert peer.is_closed
    assert [] == caplog.records
