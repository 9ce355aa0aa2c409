"""The bytes of format version 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.raft.types import Entry, HardState
from liferaft.storage.records import (
    RECORD_HEADER_BYTES,
    FormatError,
    RecordHeader,
    SegmentHeader,
    checksum,
    decode_body,
    decode_entries,
    decode_record_header,
    decode_segment_header,
    encode_entries,
    encode_hard_state,
    encode_record,
    encode_segment_header,
)

HEADER = SegmentHeader(number=7, first=100, prior_term=3, previous_end=4000, previous_crc=99)


def test_the_checksum_is_crc32c() -> None:
    """The check value of RFC 3720, appendix B.4, and of every table of CRCs."""
    whole = checksum(b"123456789")
    continued = checksum(b"6789", seed=checksum(b"12345"))

    assert 0xE3069283 == whole == continued


def test_a_segment_header_comes_back() -> None:
    assert HEADER == decode_segment_header(encode_segment_header(HEADER) + b"more")


@pytest.mark.parametrize("length", range(52))
def test_half_a_segment_header_is_none(length: int) -> None:
    encoded = encode_segment_header(HEADER)
    decoded = decode_segment_header(encoded[:length])

    assert 52 == len(encoded)
    assert decoded is None


def test_a_segment_header_of_another_program_is_none() -> None:
    packed = b"ANOTHER!" + encode_segment_header(HEADER)[8:-4]

    assert decode_segment_header(packed + checksum(packed).to_bytes(4, "little")) is None


def test_a_record_names_its_place_and_the_record_before() -> None:
    data, crc = encode_record(b"body", segment=2, offset=52, previous_crc=17)
    header = decode_record_header(b"..." + data, 3)

    assert RecordHeader(4, 17, checksum(b"body", seed=17), 2, 52) == header
    assert checksum(b"body", seed=17) == crc
    assert b"body" == data[RECORD_HEADER_BYTES:]


def test_every_flipped_bit_of_a_record_header_is_noticed() -> None:
    data, _ = encode_record(b"", segment=2, offset=52, previous_crc=17)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8

        assert decode_record_header(bytes(flipped)) is None


def test_a_record_with_another_magic_is_none() -> None:
    data, _ = encode_record(b"", segment=2, offset=52, previous_crc=17)
    packed = b"\xb2REC" + data[4:-4]

    assert decode_record_header(packed + checksum(packed).to_bytes(4, "little")) is None


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """Entries that follow each other, in terms that never fall."""
    entries: list[Entry] = []
    term = draw(st.integers(1, 5))
    for index in range(draw(st.integers(1, 50)), draw(st.integers(50, 60))):
        term += draw(st.sampled_from((0, 0, 0, 1)))
        entries.append(Entry(term, index, draw(st.integers(0, 255)), draw(st.binary(max_size=9))))
    return entries


@given(
    entries=logs(),
    term=st.integers(0, 2**64 - 1),
    voted_for=st.none() | st.text(min_size=1, max_size=20),
)
def test_a_body_comes_back(entries: list[Entry], term: int, voted_for: str | None) -> None:
    hard_state = HardState(term, voted_for)
    body = decode_body(encode_hard_state(hard_state) + encode_entries(entries))

    assert hard_state == body.hard_state
    assert entries == decode_entries(body)


def test_entry_data_is_written_as_it_came() -> None:
    """DESIGN section 5: entries are encoded once, by whoever proposes."""
    encoded = encode_entries([Entry(1, 1, 0, b"first"), Entry(1, 2, 0, b"second")])

    assert encoded.endswith(b"firstsecond")


RUN = encode_entries([Entry(1, 5, 0, b"a")])
HARD_STATE = encode_hard_state(HardState(1, "n1"))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (RUN[:3], "half an item"),
        (RUN[:-1], "longer than its record"),
        (b"\x01\x02\x00\x00\x00ab", "half a hard state"),
        (b"\x02\x02\x00\x00\x00ab", "half a run"),
        (b"\x03\x00\x00\x00\x00", "kind 3"),
        (HARD_STATE + HARD_STATE, "kind 1"),
        (HARD_STATE[:-2] + b"\xff\xff", "no name"),
        (RUN + encode_entries([Entry(2, 7, 0, b"a")]), "do not follow"),
        (RUN + encode_entries([Entry(1, 6, 0, b"a")]), "do not follow"),
        (RUN[:21] + b"\x00" + RUN[22:], "count"),
        (RUN[:21] + b"\x09" + RUN[22:], "count"),
    ],
)
def test_a_body_that_breaks_the_format_is_refused(body: bytes, what: str) -> None:
    with pytest.raises(FormatError, match=what):
        decode_body(body)


def test_lengths_that_do_not_add_up_are_refused() -> None:
    body = decode_body(RUN[:26] + b"\x02" + RUN[27:])

    with pytest.raises(FormatError, match="do not fill"):
        decode_entries(body)
