"""What nodes say of each other, once for all groups that they share. Pure, and without a clock.

Every node beats to every other one, as often as a leader would send heartbeats. A beat proves that
its sender is alive, and says which groups it leads and which of those are at rest (`Claim`), so
that it stands for the heartbeats of all of them. It also says which beat of the other's came last,
so that a leader knows who would answer it.

Only what changed is said, until the other one has it: claims have versions, and a beat tells what
changed since the version that the other has said it knows. So a beat may be lost, repeated or
overtaken, and either end may start anew (`life`): what is known is what some beat said, and counts
only as of the last beat that could be understood.

Time is counted in beats of one's own. Who stands still himself lets no beat go by meanwhile, and
hears what has come before he takes anybody for dead.

Fields that only grow, within a life: a beat's number, the version of the claims.
"""

from typing import Final

import msgspec

from liferaft.raft.types import NodeId


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A node's word that it leads `group` in `term`; it holds until it is taken back.

    Where `last_index` is not 0 the group is at rest besides: that entry, of `last_term`, is the
    last and is committed, as an AppendEntries without entries says it.
    """

    group: str
    term: int
    last_index: int = 0
    last_term: int = 0

    @property
    def is_resting(self) -> bool:
        """Whether the leader says nothing more, but for this."""
        return self.last_index > 0


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """A sign of life for one other node.

    `life` is the sender's since it started, `number` counts its beats to this target. `claims` and
    `withdrawn` are what changed in its claims after version `since` up to `version`. `heard_*` is
    what the sender has of the target: the life, the number of the last beat, the version of its
    claims.
    """

    life: int
    number: int
    since: int = 0
    version: int = 0
    claims: tuple[Claim, ...] = ()
    withdrawn: tuple[str, ...] = ()
    heard_life: int = 0
    heard_number: int = 0
    heard_version: int = 0


class Claims:
    """Which groups this node leads; the same for all who are told."""

    def __init__(self) -> None:
        self.version = 0
        # In the order of the versions in which they changed last; None where nothing is claimed.
        self._changed: dict[str, tuple[int, Claim | None]] = {}

    def of(self, group: str) -> Claim | None:
        """Return what is claimed of a group."""
        return self._changed.get(group, (0, None))[1]

    def claim(self, claim: Claim) -> None:
        """Claim this, instead of what was claimed of the group before."""
        if self.of(claim.group) != claim:
            self._change(claim.group, claim)

    def withdraw(self, group: str) -> None:
        """Claim nothing of the group any more."""
        if self.of(group) is not None:
            self._change(group, None)

    def since(self, version: int) -> tuple[tuple[Claim, ...], tuple[str, ...]]:
        """Return what is claimed and what is not, of all that changed after `version`."""
        claimed: list[Claim] = []
        withdrawn: list[str] = []
        for group, (changed, claim) in reversed(self._changed.items()):
            if changed <= version:
                break
            if claim is not None:
                claimed.append(claim)
            else:
                withdrawn.append(group)
        return tuple(claimed), tuple(withdrawn)

    def _change(self, group: str, claim: Claim | None) -> None:
        self.version += 1
        self._changed.pop(group, None)
        self._changed[group] = (self.version, claim)


class News(msgspec.Struct, frozen=True):
    """What a beat brought: the claims that are new or changed, and the groups without one now.

    `is_back` says that its sender was taken for dead before.
    """

    claims: tuple[Claim, ...] = ()
    withdrawn: tuple[str, ...] = ()
    is_back: bool = False


class Acquaintance:
    """What this node, in its own `life`, knows of one other, by their beats.

    `silent_for` is how many beats left here since the last one came that could be understood;
    `unanswered_for`, how many since the one that the other has heard. Who reaches `silent_max` is
    taken for dead, as one is that was never heard.
    """

    def __init__(self, peer: NodeId, life: int, claims: Claims, silent_max: int) -> None:
        self.peer: Final = peer
        self.claims: Final[dict[str, Claim]] = {}
        self.silent_for = silent_max
        self._life = life
        self._own = claims
        self._silent_max = silent_max
        self._number = 0
        self._answered_number = -silent_max
        self._known_version = 0
        self._peer_life = 0
        self._peer_number = 0
        self._peer_version = 0

    @property
    def is_alive(self) -> bool:
        """Whether a beat came of late."""
        return self.silent_for < self._silent_max

    @property
    def unanswered_for(self) -> int:
        """How many beats left since the last one that the other node has heard."""
        return self._number - self._answered_number

    def beat(self) -> Beat:
        """Return the next beat for the other node."""
        self._number += 1
        self.silent_for += 1
        claimed, withdrawn = self._own.since(self._known_version)
        return Beat(
            self._life,
            self._number,
            self._known_version,
            self._own.version,
            claimed,
            withdrawn,
            self._peer_life,
            self._peer_number,
            self._peer_version,
        )

    def receive(self, beat: Beat) -> News:
        """Take a beat of the other node; one that was overtaken says nothing any more."""
        was_alive = self.is_alive
        forgotten: tuple[str, ...] = ()
        if beat.life != self._peer_life:
            forgotten = tuple(self.claims)
            self.claims.clear()
            self._peer_life, self._peer_number, self._peer_version = beat.life, 0, 0
            self.silent_for = self._silent_max
            was_alive = False
        if beat.number <= self._peer_number:
            return News()
        self._peer_number = beat.number
        if beat.heard_life == self._life:
            self._known_version = beat.heard_version
            self._answered_number = beat.heard_number
        if beat.since > self._peer_version:
            # Changes to what is not known here: the next beat has all.
            return News(withdrawn=forgotten)
        self._peer_version = beat.version
        self.silent_for = 0
        changed = tuple(each for each in beat.claims if self.claims.get(each.group) != each)
        gone = tuple(group for group in beat.withdrawn if self.claims.pop(group, None) is not None)
        self.claims.update((each.group, each) for each in changed)
        return News(changed, (*forgotten, *gone), is_back=not was_alive)
