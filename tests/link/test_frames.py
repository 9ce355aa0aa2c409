"""The splitter gives the same frames for any chunking, and allocates nothing on a mere promise."""

import itertools
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liferaft.errors import InvalidArgument, ProtocolError
from liferaft.link.frames import (
    HEADER_BYTES,
    SMALL_CHUNK_BYTES,
    FrameSplitter,
    Gathered,
    check_frame,
    encode_frame,
    encode_header,
    joined,
)

FRAME_BYTES_MAX = 1000
LARGE_BYTES_MAX = 2**24


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Return the frames of the stream when it arrives in chunks cut there."""
    splitter = FrameSplitter(FRAME_BYTES_MAX)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    chunks = [stream[start:stop] for start, stop in pairwise(edges)]
    return [frame for chunk in chunks for frame in splitter.feed(chunk)]


@settings(deadline=None)
@given(
    frames=st.lists(st.binary(min_size=1, max_size=40), max_size=12),
    cuts=st.lists(st.integers(min_value=0), max_size=30),
)
def test_any_chunking_gives_the_same_frames(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(encode_frame(frame, FRAME_BYTES_MAX) for frame in frames)

    assert frames == split(stream, cuts)


def test_single_bytes_give_the_same_frames() -> None:
    frames = [b"a", b"bc", b"d" * FRAME_BYTES_MAX]
    stream = b"".join(encode_frame(frame, FRAME_BYTES_MAX) for frame in frames)

    assert frames == split(stream, list(range(len(stream))))


def test_the_length_is_big_endian_before_the_frame() -> None:
    assert b"\x00\x00\x01\x02" + b"x" * 258 == encode_frame(b"x" * 258, FRAME_BYTES_MAX)


@settings(deadline=None)
@given(
    length=st.one_of(st.just(0), st.integers(min_value=FRAME_BYTES_MAX + 1, max_value=2**32 - 1)),
    cut=st.integers(min_value=0, max_value=4),
    good=st.lists(st.binary(min_size=1, max_size=9), max_size=2),
)
def test_a_length_that_is_not_allowed_is_refused_when_its_header_is_whole(
    length: int, cut: int, good: list[bytes]
) -> None:
    splitter = FrameSplitter(FRAME_BYTES_MAX)
    header = length.to_bytes(4, "big")
    before = b"".join(encode_frame(frame, FRAME_BYTES_MAX) for frame in good)
    chunks = [before + header[:cut], header[cut:]]
    with pytest.raises(ProtocolError, match=f"a frame of {length} bytes was announced"):
        [splitter.feed(chunk) for chunk in chunks]


def test_a_promise_of_many_bytes_takes_no_memory() -> None:
    splitter = FrameSplitter(2**30)
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before_bytes, _ = tracemalloc.get_traced_memory()
        splitter.feed((2**30).to_bytes(4, "big") + b"x" * 10)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes - before_bytes < 10_000


def test_the_splitter_tells_what_it_waits_for() -> None:
    splitter = FrameSplitter(FRAME_BYTES_MAX)
    stream = encode_frame(b"x" * 300, FRAME_BYTES_MAX)
    told = []
    for chunk in (b"", stream[:3], stream[3:4], stream[4:303], stream[303:], stream + stream[:1]):
        splitter.feed(chunk)
        told.append((splitter.is_inside_frame, splitter.announced_bytes))

    assert [(False, 0), (True, 0), (True, 300), (True, 300), (False, 0), (True, 0)] == told


@pytest.mark.parametrize("size_bytes", [0, FRAME_BYTES_MAX + 1])
def test_a_frame_that_would_be_refused_is_not_encoded(size_bytes: int) -> None:
    with pytest.raises(InvalidArgument, match=f"1 to 1000 bytes, this one has {size_bytes}"):
        check_frame(bytes(size_bytes), FRAME_BYTES_MAX)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(min_value=1, max_value=3 * SMALL_CHUNK_BYTES), max_size=4),
    chunk_bytes=st.lists(st.integers(1, 2 * SMALL_CHUNK_BYTES), min_size=1, max_size=5),
)
def test_large_chunks_and_small_ones_give_the_same_frames(
    sizes: list[int], chunk_bytes: list[int]
) -> None:
    frames = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    stream = b"".join(encode_frame(frame, LARGE_BYTES_MAX) for frame in frames)
    splitter, found, held = FrameSplitter(LARGE_BYTES_MAX), [], 0
    for size in itertools.cycle(chunk_bytes):
        if not stream:
            break
        chunk, stream = stream[:size], stream[size:]
        arrived = splitter.feed(chunk)
        held += len(chunk) - sum(len(frame) + HEADER_BYTES for frame in arrived)
        found += arrived
        assert held == splitter.held_bytes
        assert splitter.is_inside_frame == (held > 0)

    assert frames == found


def test_a_large_frame_is_copied_once() -> None:
    frame = bytes(LARGE_BYTES_MAX // 2)
    stream = encode_frame(frame, LARGE_BYTES_MAX)
    chunks = [stream[at : at + 2**16] for at in range(0, len(stream), 2**16)]
    splitter = FrameSplitter(LARGE_BYTES_MAX)
    tracemalloc.start()
    try:
        for chunk in chunks[:-1]:
            splitter.feed(chunk)
        _, peak_bytes = tracemalloc.get_traced_memory()
        assert peak_bytes < 2**17, "the chunks are kept as they came, but for the first"
        assert [frame] == splitter.feed(chunks[-1])
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < len(frame) + 2**18


def test_a_frame_in_tiny_chunks_takes_no_more_memory_than_it_has_bytes() -> None:
    splitter = FrameSplitter(LARGE_BYTES_MAX)
    stream = encode_frame(bytes(2**16), LARGE_BYTES_MAX)
    tracemalloc.start()
    try:
        for at in range(len(stream) - 1):
            splitter.feed(stream[at : at + 1])
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held_bytes < 2 * len(stream)


def test_a_frame_in_several_buffers_arrives_as_one() -> None:
    frame = Gathered([b"ab", memoryview(b"cd"), b"e"])

    assert b"abcde" == joined(frame)
    assert b"ab" == joined(b"ab")
    assert 5 == len(frame)
    assert encode_header(b"abcde", 5) == encode_header(frame, 5)
    with pytest.raises(InvalidArgument, match="a frame has 1 to 4 bytes, this one has 5"):
        check_frame(frame, 4)
