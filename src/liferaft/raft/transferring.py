"""Leadership transfer (D§3.10): bring the target up to date, then let it campaign at once.

While a transfer is under way the leader takes no proposals, so that the target can catch up. It
ends when another term begins, or is given up after an election timeout.
"""

from typing import Final

from liferaft.raft.configuration import is_outranked, priority_of
from liferaft.raft.effects import Outbox, Rejected, TransferEnded
from liferaft.raft.messages import TimeoutNow
from liferaft.raft.state import Leader, RaftState, Transfer
from liferaft.raft.types import NodeId

PREFER_AGAIN: Final = 20
"""Election timeouts between two handovers to who has priority: each stops proposals for a while."""


def ask_transfer(state: RaftState, leader: Leader, target: NodeId | None, outbox: Outbox) -> None:
    """Begin a transfer, or say why not. A second one to another target replaces the first."""
    chosen = best_target(state, leader) if target is None else target
    if chosen is None:
        outbox.answer(TransferEnded(None, "no other voter answers: nobody can take over"))
    elif chosen == state.node_id:
        end_transfer(leader, outbox, f"given up: {chosen} shall go on leading")
        outbox.answer(TransferEnded(chosen, None))
    elif chosen not in state.configuration.voters:
        outbox.answer(TransferEnded(chosen, f"{chosen} is no voter of this cluster"))
    elif leader.transfer is None or leader.transfer.target != chosen:
        end_transfer(leader, outbox, f"given up for a transfer to {chosen}")
        leader.transfer = Transfer(chosen, state.now + state.config.election_timeout)


def pursue_transfer(state: RaftState, leader: Leader, outbox: Outbox) -> None:
    """Tell the target to campaign once it has the whole log, or give up when it takes too long."""
    transfer = leader.transfer
    if transfer is None:
        return
    # No change of the members begins meanwhile, so the target stays a voter.
    progress = leader.progress[transfer.target]
    if state.now >= transfer.deadline:
        end_transfer(leader, outbox, f"{transfer.target} did not take over in time")
    elif progress.match_index == state.log.last_index and transfer.sent_round < leader.round:
        # From now on somebody else may be elected in spite of all loyalty, at any time.
        leader.is_lease_void = True
        transfer.sent_round = leader.round
        outbox.send(TimeoutNow(state.current_term, state.node_id, transfer.target))


def end_transfer(leader: Leader, outbox: Outbox, problem: str | None) -> None:
    """End the transfer, if one is under way."""
    if leader.transfer is not None:
        outbox.answer(TransferEnded(leader.transfer.target, problem))
        leader.transfer = None


def refused_meanwhile(leader: Leader) -> Rejected | None:
    """Return what proposals are answered while a transfer is under way, None when none is."""
    return None if leader.transfer is None else Rejected(leader=leader.transfer.target)


def prefer(state: RaftState, leader: Leader, outbox: Outbox) -> None:
    """Hand over to a voter of higher priority that has the whole log, where there is one."""
    if leader.transfer is not None or not is_outranked(state.configuration, state.node_id):
        return
    best = best_target(state, leader)
    if best is None or state.now < leader.prefer_at:
        return
    configuration = state.configuration
    is_better = priority_of(configuration, best) > priority_of(configuration, state.node_id)
    if is_better and leader.progress[best].match_index == state.log.last_index:
        leader.prefer_at = state.now + PREFER_AGAIN * state.config.election_timeout
        ask_transfer(state, leader, best, outbox)


def best_target(state: RaftState, leader: Leader) -> NodeId | None:
    """Return the voter to hand over to: one that answers, of the highest priority, furthest."""
    fresh = state.now - state.config.election_timeout
    configuration = state.configuration
    able = [
        (priority_of(configuration, peer), progress.match_index, peer)
        for peer, progress in leader.progress.items()
        if peer in configuration.voters and max(progress.acked_at, progress.vouched_at) > fresh
    ]
    return max(able, key=lambda each: each[:2])[2] if able else None
