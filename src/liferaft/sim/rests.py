"""Whether the groups of a world rest, and what should happen sometimes to those that do.

It is told of every turn of every group's part on every node, and of nodes that are about to crash;
it changes nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from liferaft.cluster.exchange import CLAIM_ROUND
from liferaft.cluster.group_rest import GroupRest
from liferaft.raft.core import RaftCore
from liferaft.raft.events import Event, PeerAlive, Proposed, ReadAsked, Received
from liferaft.raft.messages import AppendEntries
from liferaft.raft.types import NodeId

GROUP_MARKS: Final = (
    "a group falls silent",
    "a group at rest is used",
    "a follower at rest is used",
    "a follower at rest loses sight of its leader",
    "a follower lacks what its leader claims",
    "a leader's node dies while its group rests",
    "a group rests without an absent node",
    "a group rests without an absent node and wakes when it is back",
    "a leader that is awake is kept by its peers' beats",
    "a campaign waits for its turn",
)

SILENCE: Final = 2.0
"""Virtual seconds without a turn after which a group that is not used has come to rest: several
election timeouts, and more than any node waits before it looks again."""

_USES: Final = (Proposed, ReadAsked)


class _Seen(msgspec.Struct, frozen=True):
    """How a group's part on a node was after its last turn."""

    role: str = "follower"
    is_at_rest: bool = False
    absent: frozenset[NodeId] = frozenset()


class RestWatch:
    """Sees whether groups rest; `turns` counts what each group did, on all nodes together."""

    def __init__(self, hit: Callable[[str], None]) -> None:
        self.turns: Final[Counter[str]] = Counter()
        self._hit = hit
        self._seen: dict[NodeId, dict[str, _Seen]] = {}
        self._waiting: dict[NodeId, frozenset[str]] = {}

    def born(self, node_id: NodeId) -> None:
        """Look at a node that begins a life."""
        self._seen[node_id] = {}
        self._waiting[node_id] = frozenset()

    def note_crash(self, node_id: NodeId) -> None:
        """Look at a node that is about to crash."""
        for seen in self._seen[node_id].values():
            if seen.is_at_rest and seen.role == "leader":
                self._hit("a leader's node dies while its group rests")

    def turn(
        self,
        node_id: NodeId,
        group: str,
        core: RaftCore,
        rests: Mapping[str, GroupRest],
        events: Sequence[Event],
    ) -> None:
        """Look at one turn of a group's part on a node; `rests` are those of all its groups."""
        self.turns[group] += 1
        before = self._seen[node_id].get(group, _Seen())
        rest = rests[group]
        after = _Seen(core.role, rest.is_at_rest, rest.absent)
        self._seen[node_id][group] = after
        self._used(before, events)
        self._claimed(core, events)
        self._compare(before, after, events)
        if before.role == after.role == "leader":
            self._led(before, after, events)
        waiting = frozenset(name for name, each in rests.items() if each.is_kept_waiting)
        if waiting - self._waiting[node_id]:
            self._hit("a campaign waits for its turn")
        self._waiting[node_id] = waiting

    def _used(self, before: _Seen, events: Sequence[Event]) -> None:
        if before.is_at_rest and any(isinstance(event, _USES) for event in events):
            is_leader = before.role == "leader"
            self._hit("a group at rest is used" if is_leader else "a follower at rest is used")

    def _claimed(self, core: RaftCore, events: Sequence[Event]) -> None:
        for event in events:
            message = event.message if isinstance(event, Received) else None
            if (
                isinstance(message, AppendEntries)
                and message.round == CLAIM_ROUND
                and message.term == core.current_term
                and message.prev_log_index > core.last_index
            ):
                self._hit("a follower lacks what its leader claims")

    def _compare(self, before: _Seen, after: _Seen, events: Sequence[Event]) -> None:
        is_unheard = all(isinstance(event, PeerAlive) for event in events)
        if before.role == "follower" and before.is_at_rest and is_unheard and not after.is_at_rest:
            self._hit("a follower at rest loses sight of its leader")
        if after.role == "leader" and after.is_at_rest and not before.is_at_rest:
            self._hit("a group falls silent")
        if after.absent and not before.absent:
            self._hit("a group rests without an absent node")

    def _led(self, before: _Seen, after: _Seen, events: Sequence[Event]) -> None:
        if before.absent and not after.absent and not any(isinstance(e, _USES) for e in events):
            self._hit("a group rests without an absent node and wakes when it is back")
        if not before.is_at_rest and any(isinstance(event, PeerAlive) for event in events):
            self._hit("a leader that is awake is kept by its peers' beats")

    async def wait_silent(self, groups: Sequence[str], seconds: float) -> list[str]:
        """Wait until no group takes a turn any more; return those that still do after `seconds`.

        For groups that nobody uses, on nodes that all run.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            before = dict(self.turns)
            await asyncio.sleep(SILENCE)
            restless = [
                group
                for group in groups
                if self.turns[group] != before.get(group, 0) or self._is_awake(group)
            ]
            if not restless or loop.time() > deadline:
                return restless

    def _is_awake(self, group: str) -> bool:
        return any(not seen[group].is_at_rest for seen in self._seen.values() if group in seen)
