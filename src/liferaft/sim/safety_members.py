"""Only members elect and commit, in the joint phase both majorities (section 6 of the paper)."""

from collections.abc import Mapping
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
        if 2 * len(granted & set(voters)) <= len(voters):
            raise InvariantViolated(
                f"won votes: {node_id} leads term {core.current_term}, in which {sorted(granted)} "
                f"of {len(voters)} voted for it"
            )


def check_counted(
    node_id: NodeId,
    core: RaftCore,
    node: Node,
    nodes: Mapping[NodeId, Node],
) -> None:
    """Check that what a leader has committed in this turn is stored by a quorum.

    Where other members than those at the end of its last turn were appended in this one, any of
    both may have counted; but the new ones only after the others were committed.
    """
    index, before = core.commit_index, node.members
    assert before is not None
    is_counted = _has_quorum(core, index, core.configuration, nodes)
    if core.configuration is not before:
        named_at = max(node.members_index, core.state.log.base_index)
        was_counted = _has_quorum(core, named_at, before, nodes)
        is_counted = (is_counted and was_counted) or _has_quorum(core, index, before, nodes)
    if not is_counted:
        raise InvariantViolated(
            f"quorum: {node_id} leads term {core.current_term} and commits entry {index}, which "
            f"no quorum of {core.configuration} has stored"
        )


def _has_quorum(
    core: RaftCore, index: int, configuration: Configuration, nodes: Mapping[NodeId, Node]
) -> bool:
    term = core.term_at(index)
    for voters in _majorities(configuration):
        lacking = len(voters) // 2 + 1
        for voter in voters:
            node = nodes.get(voter)
            if node is not None and node.may_have(index, term):
                lacking -= 1
                if not lacking:
                    break
        if lacking:
            return False
    return True


def _majorities(configuration: Configuration) -> tuple[tuple[NodeId, ...], ...]:
    if configuration.voters_outgoing:
        return (configuration.voters, configuration.voters_outgoing)
    return (configuration.voters,)
