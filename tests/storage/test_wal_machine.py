"""Any order of appends, crashes, failures and restarts: what was reported as stored is never lost.

The model is a list of states, one for each append, and how many of them were reported as stored. A
start must find one of those from the last that was reported on.
"""

import asyncio
import errno
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from liferaft.raft.types import Entry, HardState
from liferaft.sim.loop import VirtualLoop
from liferaft.storage.faulty import FaultyDisk, Operation
from liferaft.storage.recovery import hard_state_follows
from liferaft.storage.wal import RETRY_FULL_AFTER, SEAL_AFTER
from tests.profiles import machine_settings
from tests.storage.logs import OpenLog, make_entries, open_log, read_log

State = tuple[HardState, list[Entry]]


class LogMachine(RuleBasedStateMachine):
    """One log over one disk, through many lives."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.states: list[State] = [(HardState(), [])]
        self.stored = 0
        self.stored_at_failure: int | None = None
        self.opened: OpenLog | None = None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(seed=st.integers(0, 2**32), segment_bytes=st.sampled_from((200, 700, 4096)))
    def begin(self, seed: int, segment_bytes: int) -> None:
        self.disk = FaultyDisk(Random(seed))
        self.segment_bytes = segment_bytes
        self.start()

    def start(self) -> None:
        """Open the log, and begin a new count of its states with what it found."""
        self.opened = self.run(open_log(self.disk, segment_bytes=self.segment_bytes))
        self.stored_at_failure = None
        recovered = self.opened.recovered
        found = (recovered.hard_state, list(recovered.tail))

        assert found in self.states[self.stored :], (found, self.stored)
        assert self.states[self.stored][0].current_term <= found[0].current_term
        self.states, self.stored = [found], 0

    # What a node does.

    @precondition(lambda self: self.opened is not None)
    @rule(
        is_new_term=st.booleans(),
        vote=st.sampled_from(("n1", "n2", None)),
        back=st.integers(0, 4),
        count=st.integers(0, 5),
        data_bytes=st.integers(0, 120),
    )
    def append(
        self, *, is_new_term: bool, vote: str | None, back: int, count: int, data_bytes: int
    ) -> None:
        """Append entries, begin a term, vote, or replace a suffix."""
        assert self.opened is not None
        hard_state, log = self.states[-1]
        fresh = None
        first = len(log) + 1
        if is_new_term or hard_state.current_term == 0:
            fresh = hard_state = HardState(hard_state.current_term + 1, vote)
            first = max(1, first - back)
        entries = make_entries(
            first, first + count - 1, term=hard_state.current_term, data_bytes=data_bytes
        )
        kept = log[: first - 1] if entries else log
        self.states.append((hard_state, [*kept, *entries]))
        self.run(self._append(entries, fresh))

    async def _append(self, entries: list[Entry], hard_state: HardState | None) -> None:
        assert self.opened is not None
        self.opened.append(entries, hard_state)

    @rule(seconds=st.sampled_from((0.0, 0.0005, 0.002, 0.02, SEAL_AFTER * 1.5)))
    def pass_time(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @precondition(lambda self: self.opened is not None and not self.opened.failures)
    @rule()
    def read_back(self) -> None:
        """What was stored can be read, as it was appended."""
        if self.stored and self.disk.capacity_bytes is None and self.stored == len(self.states) - 1:
            assert self.opened is not None
            _, log = self.states[self.stored]
            assert log == self.run(self.opened.read_all())

    # What goes wrong.

    @rule(is_power=st.booleans())
    def end_at_once(self, *, is_power: bool) -> None:
        """Let the power fail, or the process be killed, and start anew."""
        self.disk.heal()
        self.disk.capacity_bytes = None
        if is_power:
            self.disk.crash()
        else:
            self.disk.kill()
        self._note_stored()
        if self.opened is not None:
            lost, self.opened = self.opened, None
            self.run(self._bury(lost))
        self.start()

    async def _bury(self, lost: OpenLog) -> None:
        """End the task of a process that is no more: it must not write in the next one's life."""
        writer = lost.log._writer
        assert writer is not None
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)

    @precondition(lambda self: self.opened is not None)
    @rule()
    def close_and_start(self) -> None:
        """Close in peace: then everything that was appended is there, unless the disk failed."""
        assert self.opened is not None
        self.disk.capacity_bytes = None
        # A log that is closed while the disk is full may drop what waits; here it is not.
        self.run(asyncio.sleep(2 * RETRY_FULL_AFTER))
        self.run(self.opened.log.close())
        self.run(asyncio.sleep(0.01))
        self._note_stored()
        if not self.opened.failures:
            assert self.stored == len(self.states) - 1
        self.disk.heal()
        self.opened = None
        self.start()

    @precondition(lambda self: self.opened is not None)
    @rule(operation=st.sampled_from(("write", "sync")))
    def fail(self, operation: Operation) -> None:
        """Let the next write or sync fail: the log must end, and report nothing more."""
        self.disk.fail(operation, errno.EIO)

    @precondition(lambda self: self.opened is not None)
    @rule(room_bytes=st.integers(0, 600))
    def fill(self, room_bytes: int) -> None:
        """Leave so much room: writes wait, and nothing is lost."""
        used_bytes = sum(len(self.disk.content(path)) for path in self.disk.paths())
        self.disk.capacity_bytes = used_bytes + room_bytes

    @rule()
    def free(self) -> None:
        """Make room again."""
        self.disk.capacity_bytes = None

    # What must hold.

    def _note_stored(self) -> None:
        if self.opened is not None and self.opened.stored:
            self.stored = self.opened.stored[-1]

    @invariant()
    def marks_rise_and_were_appended(self) -> None:
        if self.opened is None:
            return
        stored = self.opened.stored
        assert stored == sorted(set(stored))
        self._note_stored()
        assert self.stored <= len(self.states) - 1
        if self.opened.failures:
            assert self.stored_at_failure in (None, len(stored)), "a log that failed reports more"
            self.stored_at_failure = len(stored)

    @invariant()
    def hard_states_never_go_back(self) -> None:
        """Of the model itself: a guard against a test that appends what no node would."""
        for earlier, later in zip(self.states, self.states[1:], strict=False):
            assert hard_state_follows(earlier[0], later[0])

    def teardown(self) -> None:
        if self.opened is not None:
            self.disk.capacity_bytes = None
            self.run(self.opened.log.close())
            self.run(asyncio.sleep(0.01))
            self._note_stored()
            self.disk.heal()
            recovered, entries = self.run(read_log(self.disk))
            assert (recovered.hard_state, entries) in self.states[self.stored :]
        self.loop.close()


LogMachine.TestCase.settings = machine_settings(examples=60, steps=40)
TestLogMachine = pytest.mark.slow(LogMachine.TestCase)
