"""Moments at which a node may crash, told from what one turn of it did."""

from collections.abc import Sequence
from typing import Final

from liferaft.raft.effects import (
    Accepted,
    Apply,
    ChangeAccepted,
    Compact,
    ConfigurationChanged,
    Effect,
    FetchSnapshot,
    Persist,
    RestoreSnapshot,
    RoleChanged,
    TransferEnded,
)
from liferaft.raft.events import Event, SnapshotStored, Stored
from liferaft.sim.core_host import Trigger

MOMENTS: Final[dict[str, Trigger]] = {
    "votes": lambda _, effects: any(
        isinstance(effect, Persist)
        and effect.hard_state is not None
        and effect.hard_state.voted_for
        for effect in effects
    ),
    "has stored": lambda events, _: any(isinstance(event, Stored) for event in events),
    "appends": lambda _, effects: any(
        isinstance(effect, Persist) and effect.entries for effect in effects
    ),
    "applies": lambda _, effects: any(isinstance(effect, Apply) for effect in effects),
    "accepts": lambda _, effects: any(isinstance(effect, Accepted) for effect in effects),
    "leads": lambda _, effects: any(
        isinstance(effect, RoleChanged) and effect.role == "leader" for effect in effects
    ),
}


CHANGE_MOMENTS: Final[dict[str, Trigger]] = {
    "begins a change": lambda _, effects: _has(effects, ChangeAccepted),
    "learns of members": lambda _, effects: _has(effects, ConfigurationChanged),
    "is in a joint phase": lambda _, effects: any(
        isinstance(effect, ConfigurationChanged)
        and effect.configuration.voters_outgoing
        and not effect.is_committed
        for effect in effects
    ),
    "has stored a snapshot": lambda events, _: any(
        isinstance(event, SnapshotStored) for event in events
    ),
    "fetches a snapshot": lambda _, effects: _has(effects, FetchSnapshot),
    "installs a snapshot": lambda _, effects: _has(effects, RestoreSnapshot),
    "compacts": lambda _, effects: _has(effects, Compact),
    "ends a transfer": lambda _, effects: _has(effects, TransferEnded),
}
"""What needs an operator and snapshots."""


def _has(effects: Sequence[Effect], kind: type[Effect]) -> bool:
    return any(isinstance(effect, kind) for effect in effects)


def turns_after(moment: Trigger, turns: int) -> Trigger:
    """Return a trigger for the turn so many turns after the one in which that happened."""
    left: int | None = None

    def happens(events: Sequence[Event], effects: Sequence[Effect]) -> bool:
        nonlocal left
        if moment(events, effects):
            left = turns
        elif left is not None:
            left -= 1
        return left == 0

    return happens
