"""What a stream link writes, and how long it waits, on a transport and a clock of the test."""

import asyncio

import pytest

from liferaft.errors import ConnectionLost, LiferaftError, ProtocolError
from liferaft.link.base import BYTES_PER_SECOND_MIN
from liferaft.link.frames import encode_frame
from liferaft.link.stream import JOINED_BYTES_MAX, StreamLink, StreamShares
from liferaft.link.turns import FRAMES_PER_TURN_MAX
from tests.link.recorder import Recorder, pass_turns

FRAME_BYTES_MAX = 2**30
FRAME_TIMEOUT = 10.0


class FakeTransport(asyncio.Transport):
    """Keeps what is written, and behaves as asyncio's transports do when they are ended."""

    def __init__(self, link: StreamLink, *, unsent_bytes: int = 0) -> None:
        super().__init__()
        self.link = link
        self.writes: list[bytes] = []
        self.unsent_bytes = unsent_bytes
        self.is_reading_paused = False
        self.ended_at: float | None = None
        link.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def is_closing(self) -> bool:
        return self.ended_at is not None

    def close(self) -> None:
        if not self.unsent_bytes:
            self.abort()

    def abort(self) -> None:
        if self.ended_at is None:
            loop = asyncio.get_running_loop()
            self.ended_at = loop.time()
            loop.call_soon(self.link.connection_lost, None)


def make_link(*, is_accepted: bool = False, shares: StreamShares | None = None) -> StreamLink:
    return StreamLink(
        frame_bytes_max=FRAME_BYTES_MAX,
        frame_timeout=FRAME_TIMEOUT,
        describe=lambda _: "the peer",
        accept=(lambda _: None) if is_accepted else None,
        shares=shares,
    )


def now() -> float:
    return asyncio.get_running_loop().time()


class TestWriting:
    async def test_the_frames_of_one_turn_leave_in_one_write(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        frames = [b"one", b"two", b"three"]
        for frame in frames:
            link.send(frame)
        written_inside_send = list(transport.writes)
        await pass_turns(1)
        link.send(b"next turn")
        await pass_turns(1)

        assert [] == written_inside_send
        assert [
            b"".join(encode_frame(frame, FRAME_BYTES_MAX) for frame in frames),
            encode_frame(b"next turn", FRAME_BYTES_MAX),
        ] == transport.writes

    async def test_who_calls_and_waits_for_the_answer_does_not_wait_for_the_end_of_the_turn(
        self,
    ) -> None:
        link = make_link()
        transport = FakeTransport(link)
        link.start(Ignore())
        await pass_turns(1)
        answer = encode_frame(b"answer", FRAME_BYTES_MAX)
        link.send(b"call 1")
        await pass_turns(1)
        link.data_received(answer)
        link.send(b"call 2")
        written_at_once = list(transport.writes)
        link.send(b"call 3")
        written_with_it = list(transport.writes)
        link.data_received(answer)
        link.send(b"call 4")
        await pass_turns(1)
        calls = [encode_frame(b"call %d" % number, FRAME_BYTES_MAX) for number in range(1, 5)]

        assert calls[:2] == written_at_once == written_with_it
        assert [*calls[:2], calls[2] + calls[3]] == transport.writes

    async def test_no_frame_overtakes_one_that_waits_for_the_end_of_the_turn(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        link.start(Ignore())
        await pass_turns(1)
        link.send(b"one")
        link.data_received(encode_frame(b"answer", FRAME_BYTES_MAX))
        link.send(b"two")
        await pass_turns(1)

        assert [
            encode_frame(b"one", FRAME_BYTES_MAX) + encode_frame(b"two", FRAME_BYTES_MAX)
        ] == transport.writes

    async def test_a_large_frame_is_handed_over_as_it_is(self) -> None:
        """Joining it to the others would copy it."""

        class Identities(FakeTransport):
            def write(self, data: bytes | bytearray | memoryview) -> None:
                super().write(data)
                identical.append(data is large)

        identical: list[bool] = []
        link = make_link()
        transport = Identities(link)
        large = bytes(JOINED_BYTES_MAX + 1)
        for frame in (b"small", large, large, b"small"):
            link.send(frame)
        await pass_turns(1)

        assert [False, True, False, True, False] == identical
        assert b"".join(transport.writes) == b"".join(
            encode_frame(frame, FRAME_BYTES_MAX) for frame in (b"small", large, large, b"small")
        )

    async def test_close_writes_what_was_sent_in_the_same_turn(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        link.send(b"farewell")
        link.close()
        await link.wait_closed()

        assert [encode_frame(b"farewell", FRAME_BYTES_MAX)] == transport.writes

    async def test_abort_drops_what_was_sent_in_the_same_turn(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        link.send(b"farewell")
        link.abort()
        await link.wait_closed()
        await pass_turns()

        assert [] == transport.writes


class TestReading:
    async def test_before_the_start_the_socket_is_read_once(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        link.data_received(encode_frame(b"early", FRAME_BYTES_MAX))
        was_paused = transport.is_reading_paused
        there = Recorder(link)
        await pass_turns()

        assert was_paused
        assert not transport.is_reading_paused
        assert [b"early"] == there.frames

    async def test_what_came_before_the_start_is_told_before_the_end(self) -> None:
        link = make_link()
        FakeTransport(link)
        link.data_received(encode_frame(b"early", FRAME_BYTES_MAX) + b"\x00")
        link.eof_received()
        await pass_turns()
        there = Recorder(link)
        await pass_turns()

        assert [b"early"] == there.frames
        assert [ConnectionLost] == [type(end) for end in there.ends]

    async def test_the_peer_s_end_closes_the_link_at_once(self) -> None:
        link = make_link()
        FakeTransport(link)
        link.eof_received()

        assert link.is_closed

    async def test_what_came_before_a_link_was_closed_here_is_not_told(self) -> None:
        link = make_link()
        FakeTransport(link)
        link.data_received(encode_frame(b"early", FRAME_BYTES_MAX))
        link.close()
        there = Recorder(link)
        await there.wait_end()

        assert [] == there.frames

    async def test_an_end_in_the_middle_of_a_frame_is_told_as_such(self) -> None:
        link = make_link()
        FakeTransport(link)
        there = Recorder(link)
        await pass_turns()
        link.data_received(b"\x00\x00\x00\x05abc")
        link.eof_received()
        await pass_turns()

        assert "the peer closed the connection in the middle of a frame" == str(there.ends[0])

    async def test_a_broken_connection_names_its_cause(self) -> None:
        link = make_link()
        FakeTransport(link)
        there = Recorder(link)
        await pass_turns()
        cause = ConnectionResetError("reset by peer")
        link.connection_lost(cause)
        reason = there.ends[0]
        assert isinstance(reason, ConnectionLost)

        assert "the connection to the peer broke: reset by peer" == str(reason)
        assert reason.__cause__ is cause

    async def test_the_end_is_told_although_a_receiver_fails_at_an_early_frame(self) -> None:
        class Failing(Recorder):
            def frames_received(self, frames: list[bytes]) -> None:
                raise LookupError("the receiver's own fault")

        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(context["exception"])
        )
        link = make_link()
        FakeTransport(link)
        link.data_received(encode_frame(b"early", FRAME_BYTES_MAX))
        link.connection_lost(None)
        there = Failing(link)
        await pass_turns()

        assert [LookupError] == [type(fault) for fault in faults]
        assert 1 == len(there.ends)


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


class TestTurns:
    """One peer that sends thousands of small frames must not keep the loop from the others."""

    async def test_frames_are_delivered_in_turns_and_in_their_order(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        recorder = Recorder(link)
        await pass_turns()
        frames = numbered(3 * FRAMES_PER_TURN_MAX + 1)
        link.data_received(b"".join(encode_frame(frame, 100) for frame in frames[:-1]))
        is_held = transport.is_reading_paused
        link.data_received(encode_frame(frames[-1], 100))
        at_once = list(recorder.batches)
        await recorder.wait_frames(len(frames))

        assert (True, []) == (is_held, at_once)
        assert frames == recorder.frames
        assert [FRAMES_PER_TURN_MAX] * 3 + [1] == [len(batch) for batch in recorder.batches]
        assert not transport.is_reading_paused

    @pytest.mark.parametrize("is_early", [False, True])
    async def test_what_waits_for_its_turn_comes_before_the_end(self, is_early: bool) -> None:
        link = make_link()
        transport = FakeTransport(link)
        frames = numbered(1000)
        data = b"".join(encode_frame(frame, 100) for frame in frames)
        if is_early:
            link.data_received(data)
            link.eof_received()
            await pass_turns()
        recorder = Recorder(link)
        await pass_turns()
        if not is_early:
            link.data_received(data)
            link.eof_received()
        await recorder.wait_end()

        assert frames == recorder.frames
        assert transport.is_closing()

    async def test_what_waits_for_its_turn_is_not_told_after_a_close(self) -> None:
        link = make_link()
        FakeTransport(link)
        recorder = Recorder(link)
        await pass_turns()
        link.data_received(b"".join(encode_frame(frame, 100) for frame in numbered(1000)))
        link.close()
        await recorder.wait_end()

        assert [] == recorder.frames


@pytest.mark.looptime
class TestPressure:
    """A peer that does not take what it is sent."""

    async def test_nothing_more_is_read_from_it_where_it_was_accepted(self) -> None:
        held = []
        for is_accepted in (True, False):
            link = make_link(is_accepted=is_accepted)
            transport = FakeTransport(link, unsent_bytes=2_000_000)
            Recorder(link)
            await pass_turns()
            link.pause_writing()
            paused = transport.is_reading_paused
            link.resume_writing()
            held.append((paused, transport.is_reading_paused))

        assert [(True, False), (False, False)] == held

    @pytest.mark.parametrize("is_accepted", [True, False])
    async def test_it_is_given_up_when_it_takes_nothing_for_a_while(
        self, is_accepted: bool
    ) -> None:
        link = make_link(is_accepted=is_accepted)
        transport = FakeTransport(link, unsent_bytes=2_000_000)
        recorder = Recorder(link)
        await pass_turns()
        link.pause_writing()
        for _ in range(3):  # as long as it takes something, it is waited for
            transport.unsent_bytes -= 1
            await asyncio.sleep(FRAME_TIMEOUT)
        is_open = not link.is_closed
        await asyncio.sleep(2 * FRAME_TIMEOUT)

        assert is_open
        assert isinstance(recorder.ends[0], ProtocolError)
        assert "took nothing of what was sent for 10.0 s" in str(recorder.ends[0])

    async def test_of_all_that_is_not_taken_there_is_a_bound(self) -> None:
        shares = StreamShares(1_000_000)
        links = [make_link(is_accepted=True, shares=shares) for _ in range(3)]
        for link, unsent_bytes in zip(links, (6, 7, 8), strict=True):
            FakeTransport(link, unsent_bytes=unsent_bytes * 100_000)
            link.start(Ignore())
            link.send(b"frame")
        await pass_turns()

        assert [False, False, True] == [link.is_closed for link in links]

    async def test_of_all_that_is_half_received_there_is_a_bound(self) -> None:
        """The slowest goes, not the one that announced most or came last."""
        shares = StreamShares(10_000_000)
        links = [make_link(is_accepted=True, shares=shares) for _ in range(3)]
        for link in links:
            FakeTransport(link)
            link.start(Ignore())
        await pass_turns()
        for link, share in zip(links, (20, 50, 50), strict=True):
            # The first has been at it for longest when the last one comes, and has the least.
            link.data_received((10_000_000).to_bytes(4, "big") + bytes(share * 100_000))
            await asyncio.sleep(1.0)

        assert [True, False, False] == [link.is_closed for link in links]


class Ignore:
    """A receiver to whom nothing matters."""

    def frames_received(self, frames: list[bytes]) -> None: ...
    def link_closed(self, reason: LiferaftError | None) -> None: ...
    def bytes_received(self) -> None: ...
    def sending_paused(self) -> None: ...
    def sending_resumed(self) -> None: ...


@pytest.mark.looptime
class TestHalfFrames:
    async def test_a_frame_left_half_received_ends_the_link(self) -> None:
        link = make_link()
        FakeTransport(link)
        there = Recorder(link)
        await pass_turns()
        began = now()
        link.data_received(b"\x00\x00")
        reason = await end_of(there)

        assert FRAME_TIMEOUT == pytest.approx(now() - began)
        assert isinstance(reason, ProtocolError)
        assert "the peer: a frame was still half received after 10.0 s" == str(reason)

    async def test_whose_frame_is_half_received_is_known_to_be_there(self) -> None:
        link = make_link()
        FakeTransport(link)
        recorder = Recorder(link)
        await pass_turns()
        frame = encode_frame(bytes(100), FRAME_BYTES_MAX)
        for at in range(0, len(frame), 52):
            link.data_received(frame[at : at + 52])

        assert (1, 1) == (recorder.parts, len(recorder.frames))

    async def test_single_bytes_do_not_keep_a_frame_alive(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        there = Recorder(link)
        await pass_turns()
        began = now()
        link.data_received(b"\x00\x00\x00\x64")
        while not transport.is_closing():
            link.data_received(b"x")
            await asyncio.sleep(1)
        await end_of(there)

        assert now() - began <= FRAME_TIMEOUT + 2

    async def test_a_large_frame_is_given_time_by_its_length(self) -> None:
        link = make_link()
        FakeTransport(link)
        there = Recorder(link)
        await pass_turns()
        began = now()
        length = 20 * BYTES_PER_SECOND_MIN
        link.data_received(length.to_bytes(4, "big"))
        await end_of(there)

        assert FRAME_TIMEOUT + 20 == pytest.approx(now() - began)

    async def test_each_frame_has_its_own_time(self) -> None:
        """A link that is never between two frames, because more follows always, lives on."""
        link = make_link()
        transport = FakeTransport(link)
        there = Recorder(link)
        await pass_turns()
        link.data_received(b"\x00")
        for _ in range(10):
            await asyncio.sleep(FRAME_TIMEOUT * 0.8)
            link.data_received(b"\x00\x00\x01x\x00")
        was_alive = not transport.is_closing()
        began = now()
        await end_of(there)

        assert was_alive
        assert FRAME_TIMEOUT == pytest.approx(now() - began)

    async def test_silence_between_frames_is_allowed(self) -> None:
        link = make_link()
        transport = FakeTransport(link)
        Recorder(link)
        await pass_turns()
        link.data_received(b"\x00")
        link.data_received(b"\x00\x00\x01x")
        await asyncio.sleep(100 * FRAME_TIMEOUT)

        assert not transport.is_closing()


@pytest.mark.looptime
class TestClosing:
    async def test_a_peer_that_takes_nothing_more_does_not_hold_the_socket(self) -> None:
        link = make_link()
        FakeTransport(link, unsent_bytes=1000)
        there = Recorder(link)
        await pass_turns()
        began = now()
        link.close()
        reason = await end_of(there)

        assert reason is None
        assert FRAME_TIMEOUT == pytest.approx(now() - began)

    async def test_a_slow_peer_gets_all_that_was_sent(self) -> None:
        link = make_link()
        transport = FakeTransport(link, unsent_bytes=1000)
        link.close()
        for unsent_bytes in range(900, 0, -100):
            await asyncio.sleep(FRAME_TIMEOUT * 0.9)
            transport.unsent_bytes = unsent_bytes

        assert not transport.is_closing()


async def end_of(recorder: Recorder) -> LiferaftError | None:
    """Wait for the end of the link, however long it takes in the test's own time."""
    while not recorder.ends:
        recorder._changed.clear()
        await recorder._changed.wait()
    return recorder.ends[0]
