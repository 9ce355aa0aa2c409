"""What may lie on a disk: the log's files, whose they are, and which groups a node hosts."""

import asyncio
from collections.abc import Iterable
from random import Random

from liferaft.errors import DamagedLog, DataDirectoryError, InvariantViolated
from liferaft.raft.log import LogSummary, RaftLog
from liferaft.raft.types import Configuration, Entry, HardState
from liferaft.storage.contents import EMPTY
from liferaft.storage.directory import Identity, open_directory
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.group_catalog import GroupCatalog
from liferaft.storage.records import (
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    checksum,
    encode_entries,
    encode_hard_state,
    encode_record,
    encode_segment_header,
)
from liferaft.storage.recovery import Recovery, recover
from liferaft.storage.segment import segment_path
from tests.fuzz.rpc_targets import run_on_loop
from tests.fuzz.target import Broken, Target, join, pieces

DIRECTORY = "/data"
REFUSALS = (DamagedLog, DataDirectoryError)


def entries(first: int, last: int, term: int = 1) -> list[Entry]:
    return [Entry(term, index, 0, b"%d" % index) for index in range(first, last + 1)]


def disk_with(contents: dict[str, bytes]) -> FaultyDisk:
    disk = FaultyDisk(Random(1))
    disk.make_directory(DIRECTORY)
    for path, content in contents.items():
        file = disk.open(path, create=True)
        file.write(0, content)
        file.sync()
    disk.sync_directory(DIRECTORY)
    return disk


def check_recovery(recovery: Recovery) -> None:
    """What was recovered must be something that a node can start from."""
    recovered = recovery.recovered
    summary = LogSummary(
        first=recovered.first, last=recovered.last, runs=recovered.runs, tail=recovered.tail
    )
    try:
        log = RaftLog(summary)
    except InvariantViolated as error:
        raise Broken("a log was recovered that no node can start from") from error
    if log.last_term > recovered.hard_state.current_term:
        raise Broken("the log is of a later term than the node")


# log_files: the bytes of the files as they are.


def run_log_files(data: bytes) -> None:
    """Each piece is a segment's file; checksums are rarely right, so this tries the edges."""
    files = {segment_path(DIRECTORY, n): content for n, content in enumerate(pieces(data)[:4], 1)}
    check_recovery(recover(disk_with(files), DIRECTORY, base=EMPTY, tail_bytes=100))


# log_records: what stands behind right checksums.


def run_log_records(data: bytes) -> None:
    """The pieces are the bodies of records, in segments whose checksums and places are right.

    A piece of one byte begins a new segment; the fields of its header go up and down by it.
    """
    files: dict[str, bytes] = {}
    number, offset, crc, whole = 1, SEGMENT_HEADER_BYTES, 0, b""
    header = SegmentHeader(number=1, first=1, prior_term=0, previous_end=0, previous_crc=0)
    whole = encode_segment_header(header)
    for piece in pieces(data):
        if len(piece) == 1:
            files[segment_path(DIRECTORY, number)] = whole
            number += 1
            header = SegmentHeader(
                number, piece[0] // 8, piece[0] % 4, offset, crc, piece[0] % 8 > 3
            )
            whole, offset = encode_segment_header(header), SEGMENT_HEADER_BYTES
            continue
        record, crc = encode_record(piece, segment=number, offset=offset, previous_crc=crc)
        whole += record
        offset = len(whole)
    files[segment_path(DIRECTORY, number)] = whole
    check_recovery(recover(disk_with(files), DIRECTORY, base=EMPTY, tail_bytes=100))


def record_examples() -> Iterable[bytes]:
    first = encode_hard_state(HardState(1, "n1"))
    yield join([first + encode_entries(entries(1, 3))])
    yield join(
        [first, encode_entries(entries(1, 2)), b"\x0c", first, encode_entries(entries(2, 4))]
    )
    yield join([first, encode_hard_state(HardState(3, None)) + encode_entries(entries(1, 2, 3))])
    yield join([first + encode_entries([*entries(1, 2)]), encode_entries(entries(9, 9))])
    yield join([encode_hard_state(HardState(2**64 - 1, "n" * 99)), first])


def file_examples() -> Iterable[bytes]:
    header = SegmentHeader(number=1, first=1, prior_term=0, previous_end=0, previous_crc=0)
    body = encode_hard_state(HardState(1, "n1")) + encode_entries(entries(1, 3))
    record, crc = encode_record(body, segment=1, offset=SEGMENT_HEADER_BYTES, previous_crc=0)
    segment = encode_segment_header(header) + record
    following = SegmentHeader(
        number=2, first=4, prior_term=1, previous_end=len(segment), previous_crc=crc
    )
    yield join([segment])
    yield join([segment + bytes(200)])
    yield join([segment, encode_segment_header(following)])
    yield join([segment[:-1]])
    yield join([encode_segment_header(header)])
    yield join([bytes(300)])


# identity: whose directory it is.

IDENTITY = Identity("blue", "n1")
CONFIGURATION = Configuration(voters=("n1", "n2"))


def line_file(data: bytes) -> bytes:
    """An even first byte: the file as it is. An odd one: its first line, with a right checksum."""
    content = data[1:]
    if data[:1] and data[0] % 2:
        line = content.partition(b"\n")[0] + b"\n"
        content = line + b"crc32c %08x\n" % checksum(line)
    return content


def run_identity(data: bytes) -> None:
    """What `line_file` makes of the bytes."""
    disk = disk_with({f"{DIRECTORY}/identity": line_file(data)})

    async def open_and_close() -> None:
        directory = await open_directory(disk, DIRECTORY, IDENTITY, CONFIGURATION, disk_id="d1")
        directory.close()
        if not directory.configuration.voters:
            raise DataDirectoryError("nobody votes")
        await asyncio.sleep(0)

    run_on_loop(open_and_close)


def identity_examples() -> Iterable[bytes]:
    line = (
        b'{"version":1,"cluster_id":"blue","node_id":"n1",'
        b'"configuration":{"voters":["n1","n2"],"voters_outgoing":[],"learners":[]}}\n'
    )
    yield b"\x00" + line + b"crc32c %08x\n" % checksum(line)
    yield b"\x01" + line
    yield b"\x01" + line.replace(b'"version":1', b'"version":2')
    yield b'\x01{"version":1}'
    yield b"\x01[]"
    yield b"\x01\xff"


# catalog: which groups a node hosts, and which never again.


def run_catalog(data: bytes) -> None:
    """What `line_file` makes of the bytes."""
    disk = disk_with({f"{DIRECTORY}/catalog": line_file(data)})

    async def read() -> None:
        catalog = await GroupCatalog.open(disk, DIRECTORY)
        if set(catalog.removed) & set(catalog.hosted(("a", "b"))):
            raise Broken("a group is hosted that was removed")
        await asyncio.sleep(0)

    run_on_loop(read)


def catalog_examples() -> Iterable[bytes]:
    line = b'{"version":1,"added":["c","d"],"removed":["a","e"]}\n'
    yield b"\x00" + line + b"crc32c %08x\n" % checksum(line)
    yield b"\x01" + line
    yield b"\x01" + line.replace(b"1", b"2")
    yield b'\x01{"version":1,"added":["a"],"removed":["a"]}'
    yield b"\x01[]"
    yield b"\x01\xff"


TARGETS = (
    Target("log_files", run_log_files, REFUSALS, file_examples),
    Target("log_records", run_log_records, REFUSALS, record_examples),
    Target("identity", run_identity, (DataDirectoryError,), identity_examples),
    Target("catalog", run_catalog, (DataDirectoryError,), catalog_examples),
)
