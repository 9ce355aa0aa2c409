"""Figure 2, Rules for Servers, Candidates; the pre-vote goes before (D§9.6)."""

from liferaft.raft.messages import RequestVote, RequestVoteReply
from liferaft.raft.quorum import VoteResult, vote_result
from liferaft.raft.state import Candidate, PreCandidate, RaftState


def vote_requests(state: RaftState, *, is_prevote: bool) -> list[RequestVote]:
    """Return the requests of a campaign to every other voter."""
    configuration = state.configuration
    voters = {*configuration.voters, *configuration.voters_outgoing} - {state.node_id}
    return [
        RequestVote(
            term=state.current_term + 1 if is_prevote else state.current_term,
            source=state.node_id,
            target=voter,
            last_log_index=state.log.last_index,
            last_log_term=state.log.last_term,
            is_prevote=is_prevote,
            is_transfer=isinstance(state.role, Candidate) and state.role.is_transfer,
        )
        for voter in sorted(voters)
    ]


def is_of_campaign(state: RaftState, reply: RequestVoteReply) -> bool:
    """Return whether the reply answers the campaign that runs now, and no other.

    The term gate has dropped answers of older terms. A pre-vote is no vote; one that was granted
    names the term that was asked for, so that a late one of an earlier campaign is known.
    """
    if isinstance(state.role, PreCandidate):
        is_late = reply.is_granted and reply.term != state.current_term + 1
        return reply.is_prevote and not is_late
    return isinstance(state.role, Candidate) and not reply.is_prevote


def count_vote(role: PreCandidate | Candidate, reply: RequestVoteReply) -> None:
    """Note a voter's first answer in this campaign; repeats change nothing."""
    role.votes.setdefault(reply.source, reply.is_granted)


def campaign_result(state: RaftState, role: PreCandidate | Candidate) -> VoteResult:
    """Return how the campaign stands."""
    return vote_result(role.votes, state.configuration)
