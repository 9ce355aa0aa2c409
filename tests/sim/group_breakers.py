"""Guards of many groups on one node taken out, one at a time: what the simulator has to notice.

As in breakers.py, each patches the product from here.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from liferaft.cluster.beats import Acquaintance, Beat, News
from liferaft.raft import core
from liferaft.raft.state import Leader, RaftState
from liferaft.raft.types import HardState
from liferaft.storage import group_log, group_records
from liferaft.storage.group_log import GroupLog
from liferaft.storage.group_recovery import GroupContents, Replay
from liferaft.storage.shared_writes import Writes
from tests.sim.breakers import Breaker

PROFILE: dict[str, str] = {}


def under(profile: str) -> Callable[[Breaker], Breaker]:
    """Say under which profile a breaker is found soonest."""

    def note(breaker: Breaker) -> Breaker:
        PROFILE[breaker.__name__] = profile
        return breaker

    return note


@under("process")
def keep_claims_of_an_earlier_life(patch: pytest.MonkeyPatch) -> None:
    """Nobody campaigns against a leader that forgot that it leads."""
    receive = Acquaintance.receive

    def broken(self: Acquaintance, beat: Beat) -> News:
        kept = dict(self.claims)
        is_new = beat.life != self._peer_life
        news = receive(self, beat)
        if is_new:
            for group, claim in kept.items():
                self.claims.setdefault(group, claim)
            return replace(news, withdrawn=())
        return news

    patch.setattr(Acquaintance, "receive", broken)


def rest_before_everybody_knows(patch: pytest.MonkeyPatch) -> None:
    """Who was not told of a commit never learns of it while the group rests."""

    def broken(state: RaftState, leader: Leader, absent: Any) -> bool:
        return not (leader.reads or leader.reads_asked or leader.remote_reads_asked)

    patch.setattr(core, "may_rest", broken)


def never_rest(patch: pytest.MonkeyPatch) -> None:
    """The promise itself: what is not used costs nothing."""
    patch.setattr(core, "may_rest", lambda state, leader, absent: False)


@under("process")
def forget_a_groups_hard_state_at_a_start(patch: pytest.MonkeyPatch) -> None:
    """A vote belongs to its group, and so does what is kept of it."""
    contents = Replay.contents

    def broken(self: Replay, directory: str, bases: Any) -> dict[str, GroupContents]:
        found = contents(self, directory, bases)
        if "g2" in found:
            each = found["g2"]
            state = HardState(each.terms.term_at(each.terms.last), None)
            found["g2"] = replace(each, hard_state=state)
        return found

    patch.setattr(Replay, "contents", broken)


@under("process")
def report_before_the_shared_write(patch: pytest.MonkeyPatch) -> None:
    """Persist before you answer, whoever shares the write."""
    write = Writes.write

    def broken(self: Writes, data: bytes, on_stored: Any) -> int:
        asyncio.get_running_loop().call_soon(on_stored)
        return write(self, data, lambda: None)

    patch.setattr(Writes, "write", broken)


@under("process")
def write_one_groups_entries_for_another(patch: pytest.MonkeyPatch) -> None:
    """The name in a write's head is all that tells groups apart."""
    encode = group_records.encode_write

    def broken(kind: Any, name: bytes, *rest: Any) -> bytes:
        return encode(kind, b"g3" if name == b"g2" else name, *rest)

    patch.setattr(group_log, "encode_write", broken)


def read_one_groups_entries_for_another(patch: pytest.MonkeyPatch) -> None:
    """So it is with what is read back for a follower that is far behind."""
    read = GroupLog.read
    seen: dict[int, dict[str, GroupLog]] = {}

    async def broken(self: GroupLog, first: int, last: int, bytes_max: int) -> Any:
        logs = seen.setdefault(id(self._writes), {})
        logs[self.name] = self
        other = next((each for each in logs.values() if each is not self), self)
        if other._places.first <= first and last <= other._places.last:
            return await read(other, first, last, bytes_max)
        return await read(self, first, last, bytes_max)

    patch.setattr(GroupLog, "read", broken)


GROUP_BREAKERS: tuple[Breaker, ...] = (
    keep_claims_of_an_earlier_life,
    rest_before_everybody_knows,
    never_rest,
    forget_a_groups_hard_state_at_a_start,
    report_before_the_shared_write,
    write_one_groups_entries_for_another,
    read_one_groups_entries_for_another,
)
