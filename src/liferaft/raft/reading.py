"""Linearizable reads by ReadIndex, in batches, on followers too; and by lease (D§6.4).

1. Wait until an entry of the own term is committed: only then the leader knows what is committed.
2. Save commit_index as the read's index.
3. Begin a round of heartbeats *after* the read arrived; a quorum's answers to it, or to a later
   one, prove that nobody else led when the read arrived.
4. Who asked waits until the state machine has applied up to that index.

A follower has its leader do 1 to 3. It asks again until it is answered: every request begins a
round of its own, so none is answered by an older one.

With a lease a leader skips 3 while a quorum's answers are so fresh that nobody else can have been
elected yet. That rests on the clocks; nothing else here does.
"""

from liferaft.raft.effects import Outbox, ReadReady, ReadRejected
from liferaft.raft.messages import ReadIndex, ReadIndexReply
from liferaft.raft.quorum import quorum_reached
from liferaft.raft.state import Follower, ForwardedRead, Leader, RaftState, ReadBatch
from liferaft.raft.types import NodeId

REMOTE_READS_MAX = 10_000
"""Requests of followers that wait for a round; what is beyond is asked again."""

READ_NUMBER_BITS = 48
"""Of the random beginning of a node's own numbers for reads; they never come near 2^62."""


def begin_reads(state: RaftState, leader: Leader) -> None:
    """Give all reads asked since the last time one round, if the term's no-op is committed."""
    if not (leader.reads_asked or leader.remote_reads_asked):
        return
    if state.commit_index < leader.term_start:
        return
    leader.begin_round(state.now)
    leader.reads.append(
        ReadBatch(
            leader.round,
            state.commit_index,
            tuple(leader.reads_asked),
            tuple(leader.remote_reads_asked),
        )
    )
    leader.reads_asked.clear()
    leader.remote_reads_asked.clear()


def answer_confirmed(state: RaftState, leader: Leader, outbox: Outbox) -> None:
    """Answer the reads whose round a quorum has answered."""
    if not leader.reads:
        return
    rounds = {peer: progress.round_acked for peer, progress in leader.progress.items()}
    rounds[state.node_id] = leader.round
    confirmed_round = quorum_reached(rounds, state.configuration)
    while leader.reads and leader.reads[0].round <= confirmed_round:
        batch = leader.reads.popleft()
        if batch.read_ids:
            outbox.answer(ReadReady(batch.read_ids, batch.index))
        for peer, number in batch.remote:
            term, source = state.current_term, state.node_id
            outbox.send(ReadIndexReply(term, source, peer, number, batch.index))


def take_unconfirmed(leader: Leader) -> tuple[int, ...]:
    """Return all reads that can no longer be answered here, for a leader that steps down."""
    read_ids = [read_id for batch in leader.reads for read_id in batch.read_ids]
    read_ids += leader.reads_asked
    leader.reads.clear()
    leader.reads_asked.clear()
    return tuple(read_ids)


def has_lease(state: RaftState, leader: Leader) -> bool:
    """Return whether nobody else can have been elected yet, as far as the clocks are right.

    A quorum answered a round that began less than an election timeout ago, less the error of the
    clocks, and none of them helps another candidate before (D§6.4.1). It counts from when the round
    began, not from the answers, and ends when somebody was told to campaign in spite of it.
    """
    error = state.config.lease_clock_error
    if error is None or leader.is_lease_void or state.commit_index < leader.term_start:
        return False
    acked = {peer: progress.acked_at for peer, progress in leader.progress.items()}
    acked[state.node_id] = state.now
    since = quorum_reached(acked, state.configuration)
    return state.now < since + state.config.election_timeout * (1 - error)


# On followers.


def forward_reads(state: RaftState, follower: Follower, outbox: Outbox) -> None:
    """Ask the leader for what was asked here since the last time, and again what is unanswered."""
    assert follower.leader is not None
    again_at = state.now + state.config.heartbeat_interval
    if state.reads_to_forward:
        if not state.next_read_number:
            state.next_read_number = 1 + state.random.getrandbits(READ_NUMBER_BITS)
        read = ForwardedRead(state.next_read_number, tuple(state.reads_to_forward), state.now)
        state.next_read_number += 1
        state.reads_to_forward.clear()
        state.forwarded.append(read)
    for read in state.forwarded:
        if read.again_at <= state.now:
            read.again_at = again_at
            term, source = state.current_term, state.node_id
            outbox.send(ReadIndex(term, source, follower.leader, read.number))


def take_read_reply(state: RaftState, reply: ReadIndexReply) -> ReadReady | None:
    """Return what the leader's answer makes ready; a number that is not known is old."""
    for read in state.forwarded:
        if read.number == reply.read:
            state.forwarded.remove(read)
            return ReadReady(read.read_ids, reply.index)
    return None


def reject_forwarded(state: RaftState, leader: NodeId | None) -> ReadRejected | None:
    """Return the refusal of all that was passed on: whoever was asked leads no more."""
    read_ids = [read_id for read in state.forwarded for read_id in read.read_ids]
    read_ids += state.reads_to_forward
    state.forwarded.clear()
    state.reads_to_forward.clear()
    return ReadRejected(tuple(read_ids), leader) if read_ids else None
