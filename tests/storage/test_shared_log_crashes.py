"""Groups on one log, through crashes at any moment: each is as its naive twin says it can be."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liferaft.raft.types import Entry, EntryId, HardState
from liferaft.storage.contents import EMPTY
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.recovery import Recovered
from liferaft.storage.wal import SEAL_AFTER
from tests.storage.logs import make_entries
from tests.storage.shared_logs import OpenGroup, OpenShared, open_shared

State = tuple[HardState, list[Entry]]


class Twin:
    """A group as a list of states, one for each append, and how many were reported as stored."""

    def __init__(self) -> None:
        self.base = EMPTY
        self.states: list[State] = [(HardState(), [])]
        self.stored = 0

    @property
    def last(self) -> EntryId:
        entries = self.states[-1][1]
        return EntryId(entries[-1].term, entries[-1].index) if entries else self.base

    def append(self, hard_state: HardState | None, entries: list[Entry]) -> None:
        before, log = self.states[-1]
        kept = [each for each in log if each.index < entries[0].index] if entries else log
        self.states.append((hard_state or before, [*kept, *entries]))

    def cover(self, base: EntryId) -> None:
        """Let a snapshot cover all up to `base`."""
        self.base = base
        self.states = [
            (hard_state, [each for each in entries if each.index > base.index])
            for hard_state, entries in self.states
        ]

    def begin_anew(self, base: EntryId) -> None:
        """Let a snapshot from elsewhere make void what is held."""
        self.base = base
        self.states = [(hard_state, []) for hard_state, _ in self.states]

    def allowed(self) -> list[State]:
        """Return what a start may find above the base."""
        return [
            (state if state.current_term >= self.base.term else HardState(self.base.term), entries)
            for state, entries in self.states[self.stored :]
        ]

    def find(self, recovered: Recovered, entries: list[Entry]) -> None:
        """Hold what a start found against what may be left, and go on from there."""
        above = [entry for entry in entries if entry.index > self.base.index]
        found = (recovered.hard_state, above)

        assert recovered.first <= self.base.index + 1
        assert found in self.allowed(), (found, self.allowed())
        assert recovered.last == (above[-1].index if above else self.base.index)
        assert list(recovered.tail) == entries
        assert recovered.last < recovered.first or recovered.runs[0].first == recovered.first
        self.states, self.stored = [found], 0


class World:
    """A process on one disk, life after life, and a twin of each of its groups."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = FaultyDisk(Random(seed))
        self.twins: dict[str, Twin] = {}
        self.removed: dict[str, Twin] = {}
        self.copied_bytes = 0
        self.floors = 0

    async def live(self) -> None:
        """Start, do something for a while, and end somehow."""
        bases = {name: twin.base for name, twin in self.twins.items()}
        opened = await open_shared(
            self.disk, bases, segment_bytes=self.random.choice((200, 300, 700))
        )
        await self.check_start(opened)
        for _ in range(self.random.randint(0, 40)):
            await self.act(opened)
            await asyncio.sleep(self.random.choice((0, 0, 0, 0.0005, 0.003, SEAL_AFTER * 1.5)))
            self.note_stored(opened)
        self.copied_bytes += opened.log.occupancy().copied_bytes
        self.floors += opened.log.occupancy().floor > 0
        await self.end(opened)

    async def check_start(self, opened: OpenShared) -> None:
        assert set(self.twins) <= set(opened.groups) <= {*self.twins, *self.removed}
        for name, group in list(opened.groups.items()):
            if name in self.twins:
                twin = self.twins[name]
                twin.find(group.recovered, await group.read_all())
                continue
            # The removal was lost: what is there is what was, and is removed again.
            entries = await group.read_all()
            old = self.removed[name]
            above = [each for each in entries if each.index > old.base.index]
            assert any(above == entries for _, entries in old.allowed())
            opened.remove(name)
        await opened.log.wait_stored()
        self.removed.clear()

    async def act(self, opened: OpenShared) -> None:
        name = self.random.choice("aaaaaabbcdef")
        if name not in self.twins:
            if name in self.removed:
                return
            self.twins[name] = Twin()
        twin, group = self.twins[name], opened.group(name)
        choice = self.random.random()
        if choice < 0.75:
            self.append(twin, group)
        elif choice < 0.9:
            self.compact(twin, group)
        elif choice < 0.94 and twin.states[-1][0].current_term:
            term = twin.states[-1][0].current_term
            twin.begin_anew(EntryId(term, twin.last.index + self.random.randint(1, 20)))
            group.log.begin_anew(twin.base)
        elif choice < 0.96:
            self.note_stored(opened)
            self.removed[name] = self.twins.pop(name)
            opened.remove(name)
            if self.random.random() < 0.5:
                await opened.log.wait_stored()
                del self.removed[name]
        elif twin.stored == len(twin.states) - 1:
            entries = await group.read_all(twin.base.index + 1)
            assert twin.states[-1][1] == entries

    def append(self, twin: Twin, group: OpenGroup) -> None:
        hard_state = twin.states[-1][0]
        fresh: HardState | None = None
        first = twin.last.index + 1
        if self.random.random() < 0.3 or hard_state.current_term == 0:
            vote = self.random.choice(("n1", None))
            hard_state = fresh = HardState(hard_state.current_term + 1, vote)
            first = max(twin.base.index + 1, first - self.random.randint(0, 4))
        last = first + self.random.randint(0, 4) - 1
        data_bytes = self.random.randint(0, 60)
        entries = make_entries(first, last, term=hard_state.current_term, data_bytes=data_bytes)
        twin.append(fresh, entries)
        group.append(entries, fresh)

    def compact(self, twin: Twin, group: OpenGroup) -> None:
        stored = twin.states[twin.stored][1]
        common = [
            each for each in stored if all(each in log for _, log in twin.states[twin.stored :])
        ]
        if common:
            entry = self.random.choice(common)
            twin.cover(EntryId(entry.term, entry.index))
            group.log.compact(entry.index)

    def note_stored(self, opened: OpenShared) -> None:
        for name, group in opened.groups.items():
            if name in self.twins and group.stored:
                self.twins[name].stored = group.stored[-1]

    async def end(self, opened: OpenShared) -> None:
        if self.random.random() < 0.2:
            await opened.log.close()
            await asyncio.sleep(0)
            self.note_stored(opened)
            assert all(twin.stored == len(twin.states) - 1 for twin in self.twins.values())
            assert [] == opened.failures
            return
        end_at_once = self.disk.crash if self.random.random() < 0.7 else self.disk.kill
        end_at_once()
        self.note_stored(opened)
        opened.bury()
        await asyncio.sleep(0)


async def live_many_lives(seed: int) -> World:
    world = World(seed)
    for _ in range(6):
        await world.live()
    return world


@pytest.mark.parametrize("block", range(4))
@pytest.mark.slow
@pytest.mark.looptime
async def test_what_each_group_stored_survives_every_crash(block: int) -> None:
    """Any subset of what was not synced is lost, at any step, life after life."""
    worlds = [await live_many_lives(seed) for seed in range(block * 10, block * 10 + 10)]

    assert sum(world.copied_bytes > 0 for world in worlds) > 3, "cold groups were copied"
    assert sum(world.floors for world in worlds) > 10, "and the log became shorter"


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(min_value=0))
@pytest.mark.slow
@pytest.mark.looptime
async def test_what_each_group_stored_survives_any_crash(seed: int) -> None:
    await live_many_lives(seed)
