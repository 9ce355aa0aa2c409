"""What must hold of three servers together (Figure 3), after each event."""

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.types import Entry, NodeId
from liferaft.sim.exhaustive_parts import Server, entries_of


def checked_applied(
    committed: tuple[Entry, ...], entries: tuple[Entry, ...], node_id: NodeId
) -> tuple[Entry, ...]:
    """Return what is committed, once a node has applied `entries`; raises `InvariantViolated`."""
    for entry in entries:
        if entry.index <= len(committed):
            if committed[entry.index - 1] != entry:
                raise InvariantViolated(
                    f"state machine safety: {node_id} applies {entry}, another node applied "
                    f"{committed[entry.index - 1]}"
                )
        else:
            committed = (*committed, entry)
    return committed


def checked_led(
    leaders: tuple[tuple[int, NodeId], ...], committed: tuple[Entry, ...], core: RaftCore
) -> tuple[tuple[int, NodeId], ...]:
    """Return who leads in each term, this leader among them; raises `InvariantViolated`."""
    led = dict(leaders)
    node_id, term = core.state.node_id, core.current_term
    if led.setdefault(term, node_id) != node_id:
        raise InvariantViolated(f"election safety: {led[term]} and {node_id} lead in term {term}")
    for entry in committed:
        if entry.term < term and not core.state.log.has(entry.index, entry.term):
            raise InvariantViolated(
                f"leader completeness: {node_id} leads term {term} without {entry}"
            )
    return tuple(sorted(led.items()))


def check_logs(servers: tuple[Server, ...]) -> None:
    """Raise `InvariantViolated` where two logs have different entries of one index and term."""
    seen: dict[tuple[int, int], tuple[int, bytes]] = {}
    for server in servers:
        prior = 0
        for entry in entries_of(server.core):
            what = (prior, entry.data)
            if seen.setdefault((entry.index, entry.term), what) != what:
                raise InvariantViolated(f"log matching: two entries {entry.index}: {entry}")
            prior = entry.term
