"""Who takes part: what is a sound configuration, how one leads to the next, and which one counts.

A configuration counts from when its entry is appended, and is taken back with it (section 6).
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from liferaft.errors import ConfigurationError, InvariantViolated
from liferaft.raft.types import CONFIGURATION, Configuration, Entry, NodeId, Promotion

# A plain integer: looking into the enum would cost more than all else that is done for an entry.
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Configuration).decode


def checked(configuration: Configuration) -> Configuration:
    """Return `configuration` as it is; raises `ConfigurationError` when nobody could go by it."""
    if not configuration.voters:
        raise ConfigurationError("a configuration without voters can decide nothing")
    for name in ("voters", "voters_outgoing", "learners", "learners_next", "retired"):
        nodes: tuple[NodeId, ...] = getattr(configuration, name)
        if list(nodes) != sorted(set(nodes)):
            raise ConfigurationError(f"{name} must be sorted and without repeats, not {nodes}")
    voting = {*configuration.voters, *configuration.voters_outgoing}
    if both := set(configuration.learners) & voting:
        raise ConfigurationError(f"{_names(both)} cannot both vote and learn")
    outgoing = set(configuration.voters_outgoing) - set(configuration.voters)
    if strangers := set(configuration.learners_next) - outgoing:
        raise ConfigurationError(f"{_names(strangers)} cannot stop to vote: they do not")
    for promotion in configuration.promotions:
        if promotion.node not in configuration.learners:
            raise ConfigurationError(f"{promotion.node} cannot be promoted: it is no learner")
        if promotion.replaces and promotion.replaces not in configuration.voters:
            raise ConfigurationError(f"{promotion.replaces} cannot be replaced: it is no voter")
    if again := set(members(configuration)) & set(configuration.retired):
        raise ConfigurationError(
            f"{_names(again)} was removed before, and its name is used up: give the node a new one"
        )
    return configuration


def members(configuration: Configuration) -> tuple[NodeId, ...]:
    """Return everyone who receives the log, sorted."""
    return tuple(
        sorted({*configuration.voters, *configuration.voters_outgoing, *configuration.learners})
    )


def is_voter(configuration: Configuration, node_id: NodeId) -> bool:
    """Return whether the node counts in either majority, and so may campaign."""
    return node_id in configuration.voters or node_id in configuration.voters_outgoing


def priority_of(configuration: Configuration, node_id: NodeId) -> int:
    """Return how much this node should lead; 0 unless the configuration says otherwise."""
    return dict(configuration.priorities).get(node_id, 0)


def is_outranked(
    configuration: Configuration, node_id: NodeId, *, but_for: NodeId | None = None
) -> bool:
    """Return whether another voter, but for that one, should rather lead than this node."""
    if not configuration.priorities:
        return False
    own = priority_of(configuration, node_id)
    others = set(configuration.voters) - {but_for}
    return any(priority_of(configuration, voter) > own for voter in others)


def first_step(current: Configuration, target: Configuration) -> Configuration:
    """Return what must be appended next on the way from `current` to `target`, both not joint.

    Where the voters change, the joint configuration (section 6); else no majority is another, and
    it is the target itself.
    """
    assert not current.voters_outgoing
    retired = _retired(current, target)
    if current.voters == target.voters:
        return replace(target, retired=retired)
    outgoing = set(current.voters)
    return replace(
        target,
        voters_outgoing=current.voters,
        learners=tuple(node for node in target.learners if node not in outgoing),
        learners_next=tuple(node for node in target.learners if node in outgoing),
        addresses=_sorted_pairs({**dict(current.addresses), **dict(target.addresses)}),
        disks=_sorted_pairs({**dict(current.disks), **dict(target.disks)}),
        retired=current.retired,
    )


def after_joint(joint: Configuration) -> Configuration:
    """Return the configuration that ends a joint phase."""
    final = replace(
        joint,
        voters_outgoing=(),
        learners=tuple(sorted((*joint.learners, *joint.learners_next))),
        learners_next=(),
    )
    kept = set(members(final))
    return replace(
        final,
        addresses=tuple(pair for pair in joint.addresses if pair[0] in kept),
        disks=tuple(pair for pair in joint.disks if pair[0] in kept),
        retired=_retired(joint, final),
    )


def promoted(configuration: Configuration, nodes: Sequence[NodeId]) -> Configuration:
    """Return the target in which these learners vote, and whom they replace is gone."""
    done = [each for each in configuration.promotions if each.node in nodes]
    replaced = {each.replaces for each in done}
    kept = {*configuration.voters, *configuration.learners} - replaced
    return replace(
        configuration,
        voters=tuple(sorted(({*configuration.voters} - replaced) | {each.node for each in done})),
        learners=tuple(node for node in configuration.learners if node not in nodes),
        promotions=tuple(
            Promotion(each.node) if each.replaces in replaced else each
            for each in configuration.promotions
            if each not in done
        ),
        priorities=tuple(pair for pair in configuration.priorities if pair[0] in kept),
        addresses=tuple(pair for pair in configuration.addresses if pair[0] in kept),
        disks=tuple(pair for pair in configuration.disks if pair[0] in kept),
    )


def encoded(configuration: Configuration) -> bytes:
    """Return the data of the entry that carries `configuration`."""
    return _encode(configuration)


def decoded(data: bytes) -> Configuration:
    """Return what an entry carries; raises `ConfigurationError` when that is none."""
    try:
        return checked(_decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"an entry carries no configuration: {error}") from error


class ConfigurationLog:
    """The configurations that can still count: the last committed one and those behind it.

    `latest` counts; `latest_index` is where it was appended. Invariant: the indexes rise.
    """

    def __init__(self, base: Configuration, index: int, entries: Sequence[Entry]) -> None:
        self._held = [(index, base)]
        self.latest, self.latest_index = base, index
        self.append(entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """Let those of the appended entries count that carry a configuration."""
        for entry in entries:
            if entry.kind == CONFIGURATION:
                if entry.index <= self.latest_index:
                    raise InvariantViolated(
                        f"configuration {entry.index} follows {self.latest_index}"
                    )
                self._hold(entry.index, decoded(entry.data))

    def truncate_from(self, index: int) -> None:
        """Take back what was appended at `index` or behind it."""
        while len(self._held) > 1 and self._held[-1][0] >= index:
            self._held.pop()
        self.latest_index, self.latest = self._held[-1]

    def at(self, index: int) -> Configuration:
        """Return the configuration in force at a committed index that is not long past."""
        for appended, configuration in reversed(self._held):
            if appended <= index:
                return configuration
        raise InvariantViolated(f"the configuration at {index} is forgotten")

    def forget_before(self, index: int) -> None:
        """Forget what no longer counted at `index`, which is committed and applied."""
        while len(self._held) > 1 and self._held[1][0] <= index:
            del self._held[0]

    def _hold(self, index: int, configuration: Configuration) -> None:
        self._held.append((index, configuration))
        self.latest_index, self.latest = index, configuration


def _retired(before: Configuration, after: Configuration) -> tuple[NodeId, ...]:
    return tuple(sorted({*before.retired, *(set(members(before)) - set(members(after)))}))


def _sorted_pairs(pairs: dict[NodeId, str]) -> tuple[tuple[NodeId, str], ...]:
    return tuple(sorted(pairs.items()))


def _names(nodes: set[NodeId]) -> str:
    return ", ".join(sorted(nodes))
