"""When a leader may fall silent, for who hosts many groups; and what stands for its heartbeats.

A group in which nothing happens need not say so twenty times a second. While every follower has all
that the leader has, and knows that it is committed, the leader's driver may let its deadlines pass:
what the nodes say of each other, once for all their groups, stands for the heartbeats
(`PeerAlive`). It keeps followers from campaigning and leaders from stepping down, and proves
nothing else: neither a read nor a lease ever rests on it. Who wakes goes on where it stopped.
"""

from collections.abc import Set as AbstractSet

from liferaft.raft.configuration import is_outranked
from liferaft.raft.events import PeerAlive
from liferaft.raft.quorum import VoteResult, vote_result
from liferaft.raft.state import Follower, Leader, RaftState
from liferaft.raft.types import NodeId


def may_rest(state: RaftState, leader: Leader, absent: AbstractSet[NodeId]) -> bool:
    """Return whether nothing is left to be said in this group, but for the nodes in `absent`.

    Those are known to be down; the leader must wake when one of them is back. A quorum must know
    everything all the same, or there is no telling whether this node leads at all.
    """
    log = state.log
    last = log.last_index
    is_settled = state.configurations.latest is leader.settled and not leader.departing
    if not (last == log.stable_index == state.last_applied == leader.told_commit and is_settled):
        return False
    if leader.reads_asked or leader.remote_reads_asked or leader.reads or leader.transfer:
        return False
    if is_outranked(state.configuration, state.node_id):
        return False
    told = {state.node_id: True}
    for peer, progress in leader.progress.items():
        told[peer] = progress.match_index == last and progress.round_matched >= leader.told_round
    is_quorum_told = vote_result(told, state.configuration) is VoteResult.WON
    return is_quorum_told and all(is_told or peer in absent for peer, is_told in told.items())


def hear_of(state: RaftState, event: PeerAlive) -> None:
    """Take what the nodes say of each other for a sign of life in the group that rests."""
    if event.term != state.current_term:
        return
    role = state.role
    at = min(event.at, state.now)
    if isinstance(role, Leader):
        progress = role.progress.get(event.peer)
        # One that was removed is given up on when it answers nothing itself.
        if progress is not None and event.peer not in role.departing:
            progress.vouched_at = max(progress.vouched_at, at)
            progress.contact = max(progress.contact, at)
    elif isinstance(role, Follower) and role.leader == event.peer and at > role.contact:
        role.contact = at
        state.restart_election_timer(since=at)
