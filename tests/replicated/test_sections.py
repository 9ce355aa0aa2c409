"""A snapshot's bytes are read back as they were written, or not at all."""

from collections.abc import Iterable

import pytest

from liferaft.errors import DamagedSnapshot
from liferaft.replicated.sections import SectionKind, read_sections, write_sections
from liferaft.storage.records import checksum

SECTIONS = [
    (SectionKind.MACHINE, b"machine"),
    (SectionKind.SESSIONS, b""),
    (SectionKind.OBJECT, b"x" * 300),
    (SectionKind.PIECE, b"piece"),
]
WHOLE = b"".join(write_sections(SECTIONS))


def read(chunks: Iterable[bytes]) -> list[tuple[SectionKind, bytes]]:
    return list(read_sections(chunks))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 64, len(WHOLE)])
def test_chunks_may_end_anywhere(size: int) -> None:
    assert SECTIONS == read(cut(WHOLE, size))


def test_empty_chunks_say_nothing() -> None:
    assert SECTIONS == read([b"", WHOLE[:50], b"", b"", WHOLE[50:], b""])


def test_a_large_body_is_not_copied_for_its_frame() -> None:
    body = bytes(1000)

    assert any(chunk is body for chunk in write_sections([(SectionKind.PIECE, body)]))


def test_the_format_is_pinned() -> None:
    """Version 1: what a node wrote must be read by the versions that follow."""
    pinned = (
        "4c494645534e415001000000109ddeba040500000000000000f7b5c0"
        "fc07bd1b43706965636500000000000000000007bd1b43363b5e5a"
    )

    assert pinned == b"".join(write_sections([(SectionKind.PIECE, b"piece")])).hex()


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_is_missed(bit: int) -> None:
    for position in range(len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[position] ^= 1 << bit

        with pytest.raises(DamagedSnapshot):
            read([bytes(damaged)])


def test_no_cut_is_missed() -> None:
    for stop in range(len(WHOLE)):
        with pytest.raises(DamagedSnapshot, match=f"ends at byte {stop}, in the middle"):
            read([WHOLE[:stop]])


def test_more_than_the_snapshot_is_refused() -> None:
    with pytest.raises(DamagedSnapshot, match="more bytes than the snapshot's own"):
        read([WHOLE, b"\0"])


def sections_of(snapshot: list[tuple[SectionKind, bytes]]) -> list[bytes]:
    """Return the head and each section, the end too, as bytes."""
    head, *rest = write_sections(snapshot)
    return [head, *(b"".join(rest[start : start + 2]) for start in range(0, len(rest), 2))]


@pytest.mark.parametrize(
    "order", [(0, 2, 3, 4, 5), (0, 1, 3, 4, 5), (0, 1, 2, 2, 3, 4, 5), (0, 1, 3, 2, 4, 5), (0, 5)]
)
def test_a_section_is_bound_to_its_place(order: tuple[int, ...]) -> None:
    """Each is whole by itself; one of them is empty, and still missed."""
    sections = sections_of(SECTIONS)

    with pytest.raises(DamagedSnapshot, match="damage in a section's header"):
        read([sections[place] for place in order])


def test_a_newer_format_is_told_from_damage() -> None:
    head = b"LIFESNAP\x02\0\0\0"

    with pytest.raises(DamagedSnapshot, match="format version 2, and this program knows 1"):
        read([head + checksum(head).to_bytes(4, "little")])


OTHER_HEAD = b"LIFERAFT\x01\0\0\0"
NEWER_BY_DAMAGE = WHOLE[:8] + b"\x03" + WHOLE[9:]


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04" * 10,
        OTHER_HEAD + checksum(OTHER_HEAD).to_bytes(4, "little") + WHOLE[16:],
        NEWER_BY_DAMAGE,
    ],
    ids=["other", "log", "damaged"],
)
def test_other_bytes_are_told(data: bytes) -> None:
    with pytest.raises(DamagedSnapshot, match="do not begin as a snapshot does"):
        read([data])


def test_a_kind_that_nobody_knows_is_refused() -> None:
    written = b"".join(write_sections([(99, b"")]))  # type: ignore[list-item] # this is what is tried

    with pytest.raises(DamagedSnapshot, match="unknown kind 99"):
        read([written])


def test_an_end_with_a_body_is_refused() -> None:
    written = list(write_sections([(SectionKind.PIECE, b"piece")]))
    seed = checksum(written[0][:12])
    packed = b"\0" + written[1][1:13]
    header = packed + checksum(packed, seed=seed).to_bytes(4, "little")

    with pytest.raises(DamagedSnapshot, match="more bytes"):
        read([written[0], header, b"piece"])
