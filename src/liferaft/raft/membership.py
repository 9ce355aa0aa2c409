"""Section 6 and D§4: changes of membership, from the wish to the end, as the leader sees them.

One change at a time, and none before an entry of the own term is committed: otherwise two leaders
can each believe in a majority that does not meet the other's (the bug of 2015). Whoever leads when
a joint phase is committed ends it.
"""

from typing import Final

from liferaft.errors import ConfigurationError
from liferaft.raft.configuration import (
    after_joint,
    checked,
    encoded,
    first_step,
    is_voter,
    promoted,
)
from liferaft.raft.effects import ChangeAccepted, ChangeRejected
from liferaft.raft.progress import Progress
from liferaft.raft.state import Leader, RaftState
from liferaft.raft.types import CONFIGURATION, Configuration, Entry, NodeId

DEPARTING_PATIENCE: Final = 10
"""Election timeouts for which a removed node that does not answer is tried."""


def ask_change(
    state: RaftState, leader: Leader, target: Configuration
) -> ChangeAccepted | ChangeRejected:
    """Begin the change to `target`, or say why not."""
    reason = _obstacle(state, leader) or _flaw(state, target)
    if reason is not None:
        return ChangeRejected(state.node_id, reason)
    _append(state, leader, first_step(state.configuration, target))
    return ChangeAccepted(state.current_term, state.log.last_index)


def pursue_change(state: RaftState, leader: Leader) -> None:
    """Do what a committed configuration calls for: end its joint phase, or promote learners."""
    if state.configurations.latest_index > state.commit_index or _is_too_early(state, leader):
        return
    configuration = state.configuration
    if not configuration.promotions and not configuration.voters_outgoing:
        leader.settled = configuration
        return
    if configuration.voters_outgoing:
        _append(state, leader, after_joint(configuration))
        return
    if leader.transfer is None:
        ready = [
            promotion.node
            for promotion in configuration.promotions
            if _has_caught_up(state, leader, promotion.node)
        ]
        if ready:
            target = promoted(configuration, ready)
            _append(state, leader, first_step(configuration, target))


def is_left_out(state: RaftState) -> bool:
    """Return whether a committed configuration has no vote for this leader: it must step down."""
    is_committed = state.configurations.latest_index <= state.commit_index
    return is_committed and not is_voter(state.configuration, state.node_id)


def tell_removed(state: RaftState, leader: Leader, node_id: NodeId) -> None:
    """Bring one who was removed, and does not know it, as far in the log as says so."""
    if node_id not in leader.progress:
        leader.progress[node_id] = _new_progress(state)
        leader.departing[node_id] = state.configurations.latest_index


def forget_departed(state: RaftState, leader: Leader) -> None:
    """Send nothing more to who knows that it was removed, or has been silent for too long."""
    patience = DEPARTING_PATIENCE * state.config.election_timeout
    for node_id, index in list(leader.departing.items()):
        progress = leader.progress[node_id]
        # It has answered a heartbeat that told of the commit, for that one followed the match.
        knows = progress.match_index >= index and state.commit_index >= index
        if knows and progress.told_round == 0:
            progress.told_round = leader.round + 1
        is_told = knows and progress.round_acked >= progress.told_round
        if is_told or state.now >= progress.contact + patience:
            del leader.departing[node_id], leader.progress[node_id]


def _obstacle(state: RaftState, leader: Leader) -> str | None:
    """Return why no change may begin now."""
    if leader.transfer is not None:
        return "leadership is being transferred: try again in a moment"
    if _is_too_early(state, leader):
        return "this leader has committed nothing of its own term yet: try again in a moment"
    is_open = state.configurations.latest_index > state.commit_index
    if is_open or state.configuration.voters_outgoing:
        return "another change of the members is under way: try again when it is done"
    return None


def _flaw(state: RaftState, target: Configuration) -> str | None:
    """Return why the cluster could not go by `target`."""
    current = state.configuration
    if target.voters_outgoing or target.learners_next:
        return "a joint phase cannot be asked for: name the voters and learners there shall be"
    try:
        checked(target)
        checked(first_step(current, target))
    except ConfigurationError as error:
        return str(error)
    return None


def _is_too_early(state: RaftState, leader: Leader) -> bool:
    return state.commit_index < leader.term_start


def _append(state: RaftState, leader: Leader, configuration: Configuration) -> None:
    """Append a configuration, which counts at once, and count whom it names."""
    data = encoded(configuration)
    index = state.log.last_index + 1
    state.append((Entry(state.current_term, index, CONFIGURATION, data),))
    for peer in state.peers:
        if peer not in leader.progress:
            leader.progress[peer] = _new_progress(state)
    for peer in set(leader.progress) - set(state.peers) - set(leader.departing):
        leader.departing[peer] = index


def _new_progress(state: RaftState) -> Progress:
    return Progress(next_index=state.log.last_index + 1, contact=state.now)


def _has_caught_up(state: RaftState, leader: Leader, node_id: NodeId) -> bool:
    """Return whether a learner is so near that, as a voter, it holds nobody up (D§4.2.1).

    In rounds: each ends when the learner has what the log held at the round's beginning. One that
    took less than an election timeout is the last.
    """
    last_index, now = state.log.last_index, state.now
    target, began = leader.catching_up.setdefault(node_id, (last_index, now))
    if leader.progress[node_id].match_index < target:
        return False
    if now - began < state.config.election_timeout:
        return True
    leader.catching_up[node_id] = (last_index, now)
    return False
