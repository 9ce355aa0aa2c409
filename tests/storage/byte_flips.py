"""Every byte of a node's files flipped in turn: what a start makes of each, and the count of it.

`python -m tests.storage.byte_flips --flips 100000` does it at length; test_byte_flips.py does a
part of it in every test run. Of each flip one of these must become:

- refused: the start fails and names the file;
- harmless: the start finds exactly what was stored;
- window: the flip hit the last record of a log that stopped before anything behind it could vouch
  for it, and the record is cut and told as torn. storage/recovery.py says why no byte on the disk
  can tell this from a torn write. Nothing but that record may be missing.

Anything else is `Lost`. Logs, hard states and the identity are here; the files of snapshots belong
here, as one more `Specimen`, when there are any.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from random import Random

import msgspec

from liferaft.errors import DamagedLog, DataDirectoryError
from liferaft.raft.types import Configuration, Entry, HardState
from liferaft.sim.loop import run_simulated
from liferaft.storage.contents import EMPTY
from liferaft.storage.directory import Identity, open_directory
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.recovery import Recovered, recover
from liferaft.storage.segment import segment_path
from tests.storage.logs import DIRECTORY, OpenLog, make_entries, open_log

ALL_MASKS = (0x01, 0xFF, 0x80, 0x10, 0x02, 0x7F, 0x40, 0x20, 0x08, 0x04)
"""One bit or many; the first of them are tried first."""

Held = tuple[HardState, list[Entry]]


class Lost(AssertionError):
    """A start found something else than what was stored, and did not say so."""


class Specimen(msgspec.Struct, frozen=True):
    """Some files, and what a start must find in them.

    `without_last` is what is left when the last record, from `last_start` to `last_stop` of the
    file `last_path`, is cut; None where something vouches for that record.
    """

    name: str
    files: dict[str, bytes]
    held: Held
    without_last: Held | None = None
    last_path: str = ""
    last_start: int = 0
    last_stop: int = 0

    @property
    def size_bytes(self) -> int:
        """How many bytes there are to flip."""
        return sum(map(len, self.files.values()))


class Tally(msgspec.Struct):
    """What became of the flips."""

    refused: int = 0
    harmless: int = 0
    window: int = 0

    @property
    def flips(self) -> int:
        """How many there were."""
        return self.refused + self.harmless + self.window


# Making them.


def make_specimens(records: int) -> list[Specimen]:
    """Return a log that was closed and one that was not, of about that many records each."""
    return [
        run_simulated(lambda: _make_log(records, is_closed=True)),
        run_simulated(lambda: _make_log(records, is_closed=False)),
    ]


async def _make_log(records: int, *, is_closed: bool) -> Specimen:
    """Write segments, terms, votes and replaced suffixes, then close, or lose the power."""
    random, disk = Random(records), FaultyDisk(Random(1))
    opened = await open_log(disk, segment_bytes=700)
    hard_state, log = HardState(1, "n1"), list[Entry]()
    without_last: Held = HardState(), []
    start = 0
    for number in range(records):
        without_last = hard_state, list(log)
        if number % 5 == 4:
            hard_state = HardState(hard_state.current_term + 1, random.choice(("n1", "n2", None)))
        first = max(1, len(log) + 1 - (random.randint(0, 3) if number % 5 == 4 else 0))
        fresh = make_entries(
            first,
            first + random.randint(0, 3),
            term=hard_state.current_term,
            data_bytes=random.randint(0, 80),
        )
        await opened.store(fresh, hard_state)
        log[first - 1 :] = fresh
        # Where the record lies: what was stored ends at the position, wherever it began.
        start = opened.log._stored.places.tail(1)[0].offset
    return await _finished(
        opened, disk, (hard_state, log), without_last, start, is_closed=is_closed
    )


async def _finished(
    opened: OpenLog,
    disk: FaultyDisk,
    held: Held,
    without_last: Held,
    start: int,
    *,
    is_closed: bool,
) -> Specimen:
    position = opened.log._stored.position
    if is_closed:
        await opened.log.close()
        return Specimen("closed", _contents(disk), held)
    disk.crash()
    files = _contents(disk)
    await opened.log.close()
    path = segment_path(DIRECTORY, position.segment)
    return Specimen("not sealed", files, held, without_last, path, start, position.offset)


def _contents(disk: FaultyDisk) -> dict[str, bytes]:
    return {path: disk.content(path) for path in disk.paths()}


# Flipping.


def flips(size_bytes: int, count: int | None) -> Iterator[tuple[int, int]]:
    """Return every offset with the first mask, then with the next, until there are enough."""
    masks = ALL_MASKS if count is None else ALL_MASKS[: -(-count // size_bytes)]
    return ((offset, mask) for mask in masks for offset in range(size_bytes))


def flip_all(specimen: Specimen, count: int | None = None) -> Tally:
    """Flip every byte in turn, in as many ways as make `count`; raises `Lost`."""
    disk = FaultyDisk(Random(1))
    disk.make_directory(DIRECTORY)
    for path, content in specimen.files.items():
        disk.open(path, create=True).write(0, content)
    places = [
        (path, offset) for path, data in specimen.files.items() for offset in range(len(data))
    ]
    tally = Tally()
    for place, mask in flips(len(places), count):
        path, offset = places[place]
        disk.flip(path, offset, mask)
        _judge(specimen, disk, path, offset, tally)
        disk.flip(path, offset, mask)
    for path, content in specimen.files.items():
        if disk.content(path) != content:
            raise Lost(f"{specimen.name}: a start changed {path}")
    return tally


def _judge(specimen: Specimen, disk: FaultyDisk, path: str, offset: int, tally: Tally) -> None:
    where = f"{specimen.name}: {path} at {offset}"
    try:
        recovered = recover(disk, DIRECTORY, base=EMPTY, tail_bytes=2**40).recovered
    except (DamagedLog, DataDirectoryError) as error:
        if path not in str(error) and not _names_what_follows(specimen, path, str(error)):
            raise Lost(f"{where}: refused for another file: {error}") from error
        tally.refused += 1
        return
    found = held_by(recovered)
    if found == specimen.held:
        tally.harmless += 1
        return
    is_in_last = path == specimen.last_path and specimen.last_start <= offset < specimen.last_stop
    if found != specimen.without_last or not is_in_last or recovered.torn is None:
        raise Lost(f"{where}: found {found[0]} and {len(found[1])} entries, torn {recovered.torn}")
    tally.window += 1


def _names_what_follows(specimen: Specimen, path: str, sentence: str) -> bool:
    """Return whether the sentence names the segment next to the one that was flipped.

    Two segments vouch for each other: when they disagree, either may be the one that rotted.
    """
    paths = sorted(specimen.files)
    position = paths.index(path)
    return any(near in sentence for near in paths[max(0, position - 1) : position + 2])


def held_by(recovered: Recovered) -> Held:
    """Return what a start found."""
    return recovered.hard_state, list(recovered.tail)


def flip_identity() -> Tally:
    """Flip every byte of the file `identity` in every way; each must be refused."""
    return run_simulated(_flip_identity)


async def _flip_identity() -> Tally:
    disk, tally = FaultyDisk(Random(1), latency=lambda: 0.0), Tally()
    node, configuration = Identity("blue", "n1"), Configuration(("n1", "n2", "n3"))
    (await open_directory(disk, DIRECTORY, node, configuration, disk_id="d1")).close()
    path = f"{DIRECTORY}/identity"
    for offset, mask in flips(len(disk.content(path)), None):
        disk.flip(path, offset, mask)
        try:
            await open_directory(disk, DIRECTORY, node, configuration, disk_id="d1")
        except DataDirectoryError as error:
            if path not in str(error):
                raise Lost(f"{path} at {offset}: {error}") from error
            tally.refused += 1
        else:
            raise Lost(f"{path} at {offset}: it passed")
        disk.flip(path, offset, mask)
        await asyncio.sleep(0)
    return tally


def main(arguments: Sequence[str]) -> int:
    """Flip at least so many, and print what became of them; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.storage.byte_flips")
    parser.add_argument("--flips", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=40, help="in each log")
    options = parser.parse_args(arguments)
    total = Tally()
    try:
        tallies = {"identity": flip_identity()}
        specimens = make_specimens(options.records)
        for specimen in specimens:
            share = options.flips * specimen.size_bytes // sum(s.size_bytes for s in specimens)
            tallies[specimen.name] = flip_all(specimen, share)
    except Lost as error:
        print(f"LOST: {error}")
        return 1
    for name, tally in tallies.items():
        print(f"{name:12} {tally.flips:8,} flips: {_counts(tally)}")
        total.refused += tally.refused
        total.harmless += tally.harmless
        total.window += tally.window
    print(f"{'together':12} {total.flips:8,} flips: {_counts(total)}, nothing lost unsaid")
    return 0


def _counts(tally: Tally) -> str:
    window = f"{tally.window:,} in the last record before its seal"
    return f"{tally.refused:,} refused, {tally.harmless:,} harmless, {window}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
