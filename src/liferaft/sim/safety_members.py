"""Only members elect and commit, in the joint phase both majorities (section 6 of the paper)."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.types import Configuration, NodeId
from liferaft.sim.safety_node import Node


def check_members(node_id: NodeId, core: RaftCore, expected: Configuration) -> None:
    """Check that a node goes by the members that its log names."""
    if core.configuration != expected:
        raise InvariantViolated(
            f"members: {node_id} goes by {core.configuration}, and its log names {expected}"
        )


def check_won(node_id: NodeId, core: RaftCore, granted: AbstractSet[NodeId]) -> None:
    """Check that these votes elect a leader."""
    for voters in _majorities(core.configuration):
        if not is_majority(granted.__contains__, voters):
            raise InvariantViolated(
                f"won votes: {node_id} leads term {core.current_term}, in which {sorted(granted)} "
                f"of {len(voters)} voted for it"
            )


def check_counted(
    node_id: NodeId,
    core: RaftCore,
    before: tuple[int, Configuration],
    nodes: Mapping[NodeId, Node],
) -> None:
    """Check that what a leader has committed in this turn is stored by a quorum.

    `before` are the members that counted at the end of its last turn. Where others were appended in
    this one, any of both may have counted; but the others only after those were committed.
    """
    index = core.commit_index
    is_counted = _has_quorum(core, index, core.configuration, nodes)
    if core.configuration is not before[1]:
        was_counted = _has_quorum(core, max(before[0], core.state.log.base_index), before[1], nodes)
        is_counted = (is_counted and was_counted) or _has_quorum(core, index, before[1], nodes)
    if not is_counted:
        raise InvariantViolated(
            f"quorum: {node_id} leads term {core.current_term} and commits entry {index}, which "
            f"no quorum of {core.configuration} has stored"
        )


def _has_quorum(
    core: RaftCore, index: int, configuration: Configuration, nodes: Mapping[NodeId, Node]
) -> bool:
    term = core.term_at(index)

    def has_stored(voter: NodeId) -> bool:
        node = nodes.get(voter)
        return node is not None and node.may_have(index, term)

    return all(is_majority(has_stored, voters) for voters in _majorities(configuration))


def is_majority(agrees: Callable[[NodeId], bool], voters: tuple[NodeId, ...]) -> bool:
    """Return whether more than half of the voters do."""
    return 2 * sum(map(agrees, voters)) > len(voters)


def _majorities(configuration: Configuration) -> Iterator[tuple[NodeId, ...]]:
    yield configuration.voters
    if configuration.voters_outgoing:
        yield configuration.voters_outgoing
