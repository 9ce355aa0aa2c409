"""The bytes of the shared log's writes."""

import pytest

from liferaft.raft.types import EntryId, HardState
from liferaft.storage.group_records import WriteKind, decode_write, encode_write
from liferaft.storage.records import (
    FormatError,
    decode_entries,
    encode_entries,
    encode_hard_state,
)
from tests.storage.logs import make_entries


def test_a_write_is_decoded_as_it_was_encoded() -> None:
    entries = [*make_entries(8, 9, term=3), *make_entries(10, 10, term=5)]
    items = encode_hard_state(HardState(5, "n2")) + encode_entries(entries)
    write = decode_write(encode_write(WriteKind.APPENDED, b"users", EntryId(2, 7), items))

    assert (WriteKind.APPENDED, "users", EntryId(2, 7)) == (write.kind, write.group, write.entry)
    assert HardState(5, "n2") == write.body.hard_state
    assert entries == decode_entries(write.body)


def test_the_bytes_of_a_write_stay_as_they_are() -> None:
    """Logs outlive programs."""
    data = encode_write(WriteKind.COPIED, b"a", EntryId(1, 2), encode_entries(make_entries(3, 3)))

    assert (
        "02" "0100000000000000" "0200000000000000" "01" "61"
        "02" "2d000000" "0100000000000000" "0300000000000000" "01000000" "00" "14000000"
        + b"1/3".ljust(20).hex()
    ) == data.hex()  # fmt: skip
    assert (
        "06" + "00" * 8 + "0900000000000000" + "00"
        == encode_write(WriteKind.FLOOR, b"", EntryId(0, 9)).hex()
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "half a head"),
        (encode_write(WriteKind.REMOVED, b"users")[:-1], "half a name"),
        (b"\x09" + encode_write(WriteKind.REMOVED, b"users")[1:], "kind 9"),
        (encode_write(WriteKind.REMOVED, b"\xff"), "whose name is none"),
        (encode_write(WriteKind.APPENDED, b"a", items=b"\x02"), "half an item"),
        (
            encode_write(
                WriteKind.APPENDED, b"a", EntryId(1, 4), encode_entries(make_entries(6, 6))
            ),
            "do not follow",
        ),
        (
            encode_write(
                WriteKind.APPENDED, b"a", EntryId(2, 5), encode_entries(make_entries(6, 6))
            ),
            "do not follow",
        ),
    ],
)
def test_bytes_that_are_no_write_are_refused(data: bytes, what: str) -> None:
    with pytest.raises(FormatError, match=what):
        decode_write(data)
