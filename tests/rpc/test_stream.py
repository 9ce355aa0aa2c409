"""The two ends of a stream by themselves: whole and in order, and never more than was allowed."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.errors import ProtocolError
from liferaft.link.base import BYTES_PER_SECOND_MIN
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.session import LARGE_BYTES_PER_SECOND
from liferaft.rpc.stream import (
    RESEND_FIRST,
    WINDOW,
    WINDOW_FIRST,
    CallStreams,
    Receiver,
    Sender,
)
from liferaft.rpc.wire import Chunk, Credit

CHANNEL = 1


def raw(size_bytes: int, mark: int = 0) -> msgspec.Raw:
    """Return an encoded item of about that size."""
    return msgspec.Raw(encode(bytes([mark % 256]) * size_bytes))


def offer_all(sender: Sender, size_bytes: int) -> int:
    """Offer items as long as there is room, and return how many that were."""
    count = 0
    while sender.has_room:
        sender.offer(raw(size_bytes))
        count += 1
    return count


def pass_on(streams: CallStreams, other: CallStreams, now: float = 0.0) -> int:
    """Carry over what one side has to send, and return how many frames that were."""
    frames = streams.frames(1, now)
    for data in frames:
        frame = decode_frame(data)
        assert isinstance(frame, Chunk | Credit)
        other.take(frame)
    return len(frames)


def pair() -> tuple[CallStreams, CallStreams]:
    return (
        CallStreams(sending=(CHANNEL,), receiving=()),
        CallStreams(sending=(), receiving=(CHANNEL,)),
    )


@given(
    sizes=st.lists(st.integers(0, 3000), max_size=60),
    chance=st.randoms(use_true_random=False),
    loss=st.sampled_from([0.0, 0.3, 0.6]),
)
def test_whatever_the_link_does_the_items_arrive_whole_and_in_order(
    sizes: list[int], chance: Random, loss: float
) -> None:
    """Frames are lost, repeated and reordered; what arrives is what was offered."""
    writing, reading = pair()
    sender, receiver = writing.senders[CHANNEL], reading.receivers[CHANNEL]
    items = [raw(size, number) for number, size in enumerate(sizes)]
    waiting, arrived = items[::-1], list[bytes]()
    on_the_way: list[tuple[CallStreams, bytes]] = []
    now = 0.0
    for _ in range(3000):
        if receiver.is_at_end:
            break
        now += 0.05
        while waiting and sender.has_room and chance.random() < 0.7:
            sender.offer(waiting.pop())
        if not waiting:
            sender.end()
        on_the_way += [(reading, frame) for frame in writing.frames(1, now)]
        on_the_way += [(writing, frame) for frame in reading.frames(1, now)]
        chance.shuffle(on_the_way)
        for _ in range(min(len(on_the_way), 4)):
            target, data = on_the_way.pop()
            if chance.random() < loss:
                continue
            frame = decode_frame(data)
            assert isinstance(frame, Chunk | Credit)
            target.take(frame)
            if chance.random() < 0.1:
                target.take(frame)
        while receiver.is_ready and chance.random() < 0.8:
            arrived.append(bytes(receiver.pop()))

    assert [bytes(item) for item in items] == arrived


def test_a_reader_that_does_not_read_holds_the_writer() -> None:
    writing, reading = pair()
    sender, receiver = writing.senders[CHANNEL], reading.receivers[CHANNEL]
    first = offer_all(sender, 10_000)
    for _ in range(100):
        pass_on(writing, reading)
        pass_on(reading, writing)
        first += offer_all(sender, 10_000)
    held_bytes = first * 10_000
    receiver.pop()
    has_room_after_one = sender.has_room
    for _ in range(first // 2 + 1):
        receiver.pop()
    pass_on(reading, writing)

    assert WINDOW <= held_bytes < WINDOW + 20_000
    assert not has_room_after_one
    assert sender.has_room


def test_a_writer_that_waits_asks_for_credit_that_was_lost() -> None:
    """Nothing is unacknowledged then, so no repeat would bring it."""
    writing, reading = pair()
    sender, receiver = writing.senders[CHANNEL], reading.receivers[CHANNEL]
    for _ in range(100):
        offer_all(sender, 10_000)
        pass_on(writing, reading)
        pass_on(reading, writing)
    while receiver.is_ready:
        receiver.pop()
        reading.frames(1, 0.0)  # and every one of them is lost
    assert reading.due() is None
    due = writing.due()
    assert due is not None

    probes = [writing.frames(1, due), writing.frames(1, due)]
    (data,) = probes[0]
    reading.take(decode_chunk(data))
    pass_on(reading, writing)

    assert not probes[1], "it asks once, then waits"
    assert sender.has_room
    assert writing.due() is None


def decode_chunk(data: bytes) -> Chunk:
    frame = decode_frame(data)
    assert isinstance(frame, Chunk)
    return frame


def test_a_writer_that_may_go_on_does_not_ask() -> None:
    writing, reading = pair()
    writing.senders[CHANNEL].offer(raw(5))
    pass_on(writing, reading)
    pass_on(reading, writing)

    assert writing.due() is None


def test_a_writer_holds_a_bounded_amount_whatever_is_allowed() -> None:
    """A peer may allow as much as it likes, and acknowledge nothing."""
    writing, _ = pair()
    sender = writing.senders[CHANNEL]
    sender.take_credit(Credit(1, CHANNEL, 0, 2**60, is_closed=False))

    assert WINDOW <= offer_all(sender, 10_000) * 10_000 < WINDOW + 20_000


def test_before_the_first_credit_little_is_sent() -> None:
    writing, _ = pair()

    assert WINDOW_FIRST // 1000 >= offer_all(writing.senders[CHANNEL], 1000) - 1


def test_what_is_not_acknowledged_is_sent_again_and_later_each_time() -> None:
    writing, _ = pair()
    writing.senders[CHANNEL].offer(raw(5))
    sent_at = []
    now = 0.0
    while now < 2.0:
        if writing.frames(1, now):
            sent_at.append(round(now, 2))
        due = writing.due()
        assert due is not None
        now = due

    assert [0.0, RESEND_FIRST, 0.3, 0.7] == sent_at[:4]


def test_a_reader_that_closes_ends_the_writing() -> None:
    writing, reading = pair()
    sender, receiver = writing.senders[CHANNEL], reading.receivers[CHANNEL]
    offer_all(sender, 100)
    pass_on(writing, reading)
    receiver.close()
    pass_on(reading, writing)

    assert (True, True, False) == (sender.is_closed, sender.is_drained, receiver.is_ready)
    assert writing.due() is None


def test_a_repeat_is_acknowledged_again() -> None:
    """Its acknowledgement may have been lost."""
    writing, reading = pair()
    writing.senders[CHANNEL].offer(raw(5))
    (data,) = writing.frames(1, 0.0)
    chunk = decode_frame(data)
    assert isinstance(chunk, Chunk)
    reading.take(chunk)
    reading.frames(1, 0.0)
    reading.take(chunk)

    assert 0.0 == reading.due()
    assert 1 == pass_on(reading, writing)


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(1, CHANNEL, 0, [raw(40_000), raw(40_000), raw(1)], is_last=False),
        Chunk(1, CHANNEL, 7, [raw(40_000), raw(40_000), raw(1)], is_last=False),
        Chunk(1, CHANNEL, 0, [], is_last=False),
        Chunk(1, 2, 0, [raw(1)], is_last=False),
    ],
    ids=["more than allowed", "early and more than allowed", "nothing", "another channel"],
)
def test_what_no_writer_of_ours_sends_is_an_error(chunk: Chunk) -> None:
    _, reading = pair()

    with pytest.raises(ProtocolError):
        reading.take(chunk)


def test_nothing_comes_behind_the_end() -> None:
    receiver = Receiver()
    receiver.take_chunk(Chunk(1, CHANNEL, 0, [raw(1)], is_last=True))

    with pytest.raises(ProtocolError):
        receiver.take_chunk(Chunk(1, CHANNEL, 2, [raw(1)], is_last=False))


def test_an_acknowledgement_of_what_was_never_sent_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        Sender().take_credit(Credit(1, CHANNEL, 1, WINDOW, is_closed=False))


def repeats(sender: Sender, until: float) -> list[float]:
    """Move to `until` from due time to due time; return when anything was sent again."""
    times = []
    while (due := sender.due()) is not None and due <= until:
        if list(sender.chunks(1, CHANNEL, due)):
            times.append(round(due, 2))
    return times


def test_a_large_item_is_given_the_time_that_it_takes_before_it_is_sent_again() -> None:
    sender = Sender()
    sender.offer(raw(4 * LARGE_BYTES_PER_SECOND))
    assert 1 == len(list(sender.chunks(1, CHANNEL, 0.0)))

    assert [4.1, 12.3, 28.7, 61.2, 93.7] == repeats(sender, 100.0)


def test_a_large_item_behind_a_small_one_is_not_sent_again_too_early() -> None:
    sender = Sender()
    sender.offer(raw(10))
    list(sender.chunks(1, CHANNEL, 0.0))
    sender.offer(raw(4 * LARGE_BYTES_PER_SECOND))
    list(sender.chunks(1, CHANNEL, 0.05))

    assert [4.15] == repeats(sender, 12.0)


def test_small_items_that_are_lost_do_not_make_large_ones_slow() -> None:
    sender = Sender()
    sender.offer(raw(10))
    list(sender.chunks(1, CHANNEL, 0.0))
    assert 5 < len(repeats(sender, 5.0))
    sender.take_credit(Credit(1, CHANNEL, 1, WINDOW_FIRST, is_closed=False))
    sender.offer(raw(4 * LARGE_BYTES_PER_SECOND))
    list(sender.chunks(1, CHANNEL, 5.0))

    assert [9.1] == repeats(sender, 12.0)


def test_a_large_item_arrives_by_its_length_at_the_least_rate_over_the_present_link() -> None:
    streams, _ = pair()
    sender = streams.senders[CHANNEL]
    assert 0.0 == streams.arrives_at(3.0)
    sender.offer(raw(10))
    list(sender.chunks(1, CHANNEL, 0.0))
    assert 0.0 == streams.arrives_at(3.0)
    sender.offer(raw(10 * BYTES_PER_SECOND_MIN))
    list(sender.chunks(1, CHANNEL, 5.0))

    assert [15, 17] == [round(streams.arrives_at(since)) for since in (3.0, 7.0)]
    sender.take_credit(Credit(1, CHANNEL, 2, WINDOW, is_closed=False))
    assert 0.0 == streams.arrives_at(3.0)
