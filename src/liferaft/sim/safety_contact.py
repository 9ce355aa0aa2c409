"""Check-quorum, held against what a leader has received (D§6.2 of the dissertation).

A leader counts an answer from when its question left. Here the answer's arrival counts, so nobody
is held to more than it promises.
"""

from collections.abc import Sequence

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.events import Event, PeerAlive, Received
from liferaft.raft.messages import AppendEntriesReply, InstallSnapshotReply
from liferaft.raft.quorum import quorum_reached
from liferaft.sim.safety_node import Node


def begin_contact(node: Node, core: RaftCore) -> None:
    """Let the time of a leader, or of one with other members than before, begin now."""
    node.heard = dict.fromkeys(core.state.peers, core.state.now)


def check_contact(node: Node, core: RaftCore, events: Sequence[Event]) -> None:
    """Note whom a leader heard of; raise `InvariantViolated` when it leads on without a quorum.

    A sign of life may be the contact that is missing: it is judged at the next event.
    """
    state, now = core.state, core.state.now
    is_due = False
    for event in events:
        if type(event) is PeerAlive:
            node.heard[event.peer] = now
            continue
        is_due = True
        if type(event) is Received:
            message = event.message
            is_answer = type(message) is AppendEntriesReply or type(message) is InstallSnapshotReply
            if is_answer and message.term == state.current_term:
                node.heard[message.source] = now
    if now < node.contact_until or not is_due:
        return
    contact = quorum_reached({**node.heard, state.node_id: now}, state.configuration)
    node.contact_until = contact + state.config.election_timeout
    if now >= node.contact_until:
        raise InvariantViolated(
            f"check-quorum: {state.node_id} leads term {state.current_term} at {now:.3f} s of its "
            f"clock, and last heard of a quorum at {contact:.3f} s"
        )
