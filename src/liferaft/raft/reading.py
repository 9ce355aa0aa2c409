"""Linearizable reads by ReadIndex, in batches (D§6.4).

1. Wait until an entry of the own term is committed: only then the leader knows what is committed.
2. Save commit_index as the read's index.
3. Begin a round of heartbeats *after* the read arrived; a quorum's answers to it, or to a later
   one, prove that nobody else led when the read arrived.
4. Who asked waits until the state machine has applied up to that index.
"""

from liferaft.raft.effects import ReadReady
from liferaft.raft.quorum import quorum_reached
from liferaft.raft.state import Leader, RaftState, ReadBatch


def begin_reads(state: RaftState, leader: Leader) -> None:
    """Give all reads asked since the last time one round, if the term's no-op is committed."""
    if not leader.reads_asked or state.commit_index < leader.term_start:
        return
    leader.begin_round(state.now)
    leader.reads.append(ReadBatch(leader.round, state.commit_index, tuple(leader.reads_asked)))
    leader.reads_asked.clear()


def take_confirmed(state: RaftState, leader: Leader) -> list[ReadReady]:
    """Return the reads whose round a quorum has answered."""
    if not leader.reads:
        return []
    rounds = {peer: progress.round_acked for peer, progress in leader.progress.items()}
    rounds[state.node_id] = leader.round
    confirmed_round = quorum_reached(rounds, state.configuration)
    ready: list[ReadReady] = []
    while leader.reads and leader.reads[0].round <= confirmed_round:
        batch = leader.reads.popleft()
        ready.append(ReadReady(batch.read_ids, batch.index))
    return ready


def take_unconfirmed(leader: Leader) -> tuple[int, ...]:
    """Return all reads that can no longer be answered here, for a leader that steps down."""
    read_ids = [read_id for batch in leader.reads for read_id in batch.read_ids]
    read_ids += leader.reads_asked
    leader.reads.clear()
    leader.reads_asked.clear()
    return tuple(read_ids)
