"""What nodes say of each other, once for all groups that they share. Pure: times are arguments.

Every node beats to every other one, as often as a leader would send heartbeats. A beat proves that
its sender is alive, and says which of the groups that it leads are at rest (`Resting`), so that it
stands for the heartbeats of all of them. It also says which beat of the other's came last, so that
a leader at rest knows who would answer it.

Only what changed is said, until the other one has it: claims have versions, and a beat tells what
changed since the version that the other has said it knows. So a beat may be lost, repeated or
overtaken, and either end may start anew (`life`): what is known is what some beat said, and counts
only as of the last beat that could be understood.

Fields that only grow, within a life: a beat's number, the version of the claims.
"""

from typing import Final

import msgspec

from liferaft.raft.types import NodeId

UNANSWERED_MAX: Final = 64
"""Beats of which it is remembered when they left; an answer to an older one proves little."""


class Resting(msgspec.Struct, frozen=True, array_like=True):
    """A leader's word: `group` is led in `term`, and the last entry is committed.

    As an AppendEntries without entries says it; it holds until it is taken back.
    """

    group: str
    term: int
    last_index: int
    last_term: int


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """A sign of life for one other node.

    `life` is the sender's since it started, `number` counts its beats to this target. `resting` and
    `awake` are what changed in its claims after version `since` up to `version`. `heard_*` is what
    the sender has of the target: the life, the number of the last beat, the version of its claims.
    """

    life: int
    number: int
    since: int = 0
    version: int = 0
    resting: tuple[Resting, ...] = ()
    awake: tuple[str, ...] = ()
    heard_life: int = 0
    heard_number: int = 0
    heard_version: int = 0


class Claims:
    """Which groups this node leads that are at rest; the same for all who are told."""

    def __init__(self) -> None:
        self.version = 0
        # In the order of the versions in which they changed last; None for one that is awake.
        self._changed: dict[str, tuple[int, Resting | None]] = {}

    def __contains__(self, group: str) -> bool:
        """Return whether the group is claimed to be at rest."""
        return self._changed.get(group, (0, None))[1] is not None

    def claim(self, resting: Resting) -> None:
        """Say that a group is at rest."""
        self._change(resting.group, resting)

    def withdraw(self, group: str) -> None:
        """Say so no more."""
        if group in self:
            self._change(group, None)

    def since(self, version: int) -> tuple[tuple[Resting, ...], tuple[str, ...]]:
        """Return what is at rest and what is not, of all that changed after `version`."""
        resting: list[Resting] = []
        awake: list[str] = []
        for group, (changed, claim) in reversed(self._changed.items()):
            if changed <= version:
                break
            if claim is not None:
                resting.append(claim)
            else:
                awake.append(group)
        return tuple(resting), tuple(awake)

    def _change(self, group: str, claim: Resting | None) -> None:
        self.version += 1
        self._changed.pop(group, None)
        self._changed[group] = (self.version, claim)


class News(msgspec.Struct, frozen=True):
    """What a beat brought: the claims that are new or changed, and the groups without one now.

    `is_back` says that its sender was silent for long, or has started anew.
    """

    resting: tuple[Resting, ...] = ()
    awake: tuple[str, ...] = ()
    is_back: bool = False


class Acquaintance:
    """What this node, in its own `life`, knows of one other, by their beats.

    `heard_at` is when the last beat came that could be understood, `answered_at` when the last beat
    left that the other one has heard; -inf before.
    """

    def __init__(self, peer: NodeId, life: int, claims: Claims, silence_max: float) -> None:
        self.peer: Final = peer
        self.heard_at = float("-inf")
        self.answered_at = float("-inf")
        self.claims: Final[dict[str, Resting]] = {}
        self._life = life
        self._own = claims
        self._silence_max = silence_max
        self._sent: dict[int, float] = {}
        self._number = 0
        self._known_version = 0
        self._peer_life = 0
        self._peer_number = 0
        self._peer_version = 0

    def is_alive(self, now: float) -> bool:
        """Return whether a beat came of late."""
        return now < self.heard_at + self._silence_max

    def beat(self, now: float) -> Beat:
        """Return the next beat for the other node."""
        self._number += 1
        self._sent[self._number] = now
        if len(self._sent) > UNANSWERED_MAX:
            del self._sent[next(iter(self._sent))]
        resting, awake = self._own.since(self._known_version)
        return Beat(
            self._life,
            self._number,
            self._known_version,
            self._own.version,
            resting,
            awake,
            self._peer_life,
            self._peer_number,
            self._peer_version,
        )

    def receive(self, beat: Beat, now: float) -> News:
        """Take a beat of the other node; one that was overtaken says nothing any more."""
        was_alive = self.is_alive(now)
        forgotten: list[str] = []
        if beat.life != self._peer_life:
            forgotten = list(self.claims)
            self.claims.clear()
            self._peer_life, self._peer_number, self._peer_version = beat.life, 0, 0
            was_alive = False
        if beat.number <= self._peer_number:
            return News()
        self._peer_number = beat.number
        self._take_answer(beat)
        if beat.since > self._peer_version:
            return News(
                awake=tuple(forgotten)
            )  # changes to what is not known; the next one has all
        self._peer_version = beat.version
        self.heard_at = now
        changed = tuple(each for each in beat.resting if self.claims.get(each.group) != each)
        withdrawn = [group for group in beat.awake if self.claims.pop(group, None) is not None]
        self.claims.update((each.group, each) for each in changed)
        return News(changed, (*forgotten, *withdrawn), is_back=not was_alive)

    def _take_answer(self, beat: Beat) -> None:
        if beat.heard_life == self._life:
            self._known_version = beat.heard_version
            left_at = self._sent.get(beat.heard_number, float("-inf"))
            self.answered_at = max(self.answered_at, left_at)
