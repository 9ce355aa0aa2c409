"""Figure 2, RequestVote RPC, receiver implementation; and the pre-vote (D§9.6)."""

import msgspec

from liferaft.raft.messages import RequestVote, RequestVoteReply
from liferaft.raft.state import Follower, Leader, RaftState
from liferaft.raft.types import EntryId


def is_loyal(state: RaftState) -> bool:
    """Return whether this server has a live leader, and so helps nobody to depose it.

    Source: D§4.2.3. Its own clock alone measures the leader's silence. A leader itself knows from
    check-quorum that it is alive. Where leases are used, one that has just started may have
    promised its silence before it stopped.
    """
    role = state.role
    if isinstance(role, Leader) or state.now < state.loyal_from_start_until:
        return True
    if not isinstance(role, Follower) or role.leader is None:
        return False
    return state.now < role.contact + state.config.election_timeout


def answer_vote_request(state: RaftState, request: RequestVote) -> RequestVoteReply:
    """Vote. The caller has adopted the request's term if it counts; a grant restarts the timer."""
    if not _is_grantable(state, request):
        return _reply(state, request, term=state.current_term, is_granted=False)
    if request.is_prevote:
        # A pre-vote promises nothing: neither the vote nor the term nor the timer changes.
        return _reply(state, request, term=request.term, is_granted=True)
    state.hard_state = msgspec.structs.replace(state.hard_state, voted_for=request.source)
    state.restart_election_timer()
    return _reply(state, request, term=state.current_term, is_granted=True)


def _is_grantable(state: RaftState, request: RequestVote) -> bool:
    if is_loyal(state):  # a transfer's new term has ended that already
        return False
    # 1. Reply false if term < currentTerm (a pre-vote is for a term that must be new)
    if request.is_prevote:
        can_vote = request.term > state.current_term
    # 2. If votedFor is null or candidateId, ...
    elif request.term < state.current_term:
        can_vote = False
    elif state.hard_state.voted_for is None:
        can_vote = state.leader is None
    else:
        can_vote = state.hard_state.voted_for == request.source
    # ... and candidate's log is at least as up-to-date as receiver's log, grant vote
    return can_vote and state.log.is_behind(EntryId(request.last_log_term, request.last_log_index))


def _reply(
    state: RaftState, request: RequestVote, *, term: int, is_granted: bool
) -> RequestVoteReply:
    return RequestVoteReply(
        term=term,
        source=state.node_id,
        target=request.source,
        is_granted=is_granted,
        is_prevote=request.is_prevote,
    )
