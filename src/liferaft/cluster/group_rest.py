"""Lets one group of many fall silent, and vouches for its nodes when it wakes.

A leader rests when it has had nothing to say for a while, and says so in its node's beats. A
follower rests while its leader's node is alive and says that of exactly the log that it has. Both
wake when anything happens; nothing is decided here but when a deadline of the core may pass.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final

from liferaft.cluster.beats import Resting
from liferaft.cluster.campaigns import Campaigns
from liferaft.cluster.exchange import Exchange
from liferaft.raft.core import RaftCore
from liferaft.raft.events import (
    ChangeAsked,
    Event,
    PeerAlive,
    Proposed,
    ReadAsked,
    TransferAsked,
)
from liferaft.raft.state import Leader

REST_AFTER: Final = 0.3
"""Seconds without use after which a group rests: waking it costs a few rounds of heartbeats."""

WAKES_PER_HEARTBEAT: Final = 5
"""How often in a heartbeat interval groups that are awake can be woken: all at once, then."""

_NEVER: Final = float("-inf")

_USES: Final = frozenset((Proposed, ReadAsked, ChangeAsked, TransferAsked))


class GroupRest:
    """Answers `driver.Rest` for one group; `core` is known once it is `bound`."""

    def __init__(
        self,
        group: str,
        exchange: Exchange,
        campaigns: Campaigns,
        *,
        after: float = REST_AFTER,
    ) -> None:
        self._group = group
        self._exchange = exchange
        self._campaigns = campaigns
        self._after = after
        self._grid = exchange.interval / WAKES_PER_HEARTBEAT
        self._core: RaftCore | None = None
        self._loop = asyncio.get_running_loop()
        self._is_resting = False
        self._used_at = _NEVER

    def bind(self, core: RaftCore) -> None:
        """Learn of which core it is."""
        self._core = core

    @property
    def is_at_rest(self) -> bool:
        """Whether the group rests, as of its last turn."""
        return self._is_resting

    def end(self) -> None:
        """Claim nothing more."""
        self._exchange.claims.withdraw(self._group)
        self._campaigns.forget(self._group)

    def vouchers(self) -> Sequence[Event]:
        """Return the signs of life since the group rests, of all who count."""
        core = self._core
        if not self._is_resting or core is None:
            return ()
        role, term = core.state.role, core.current_term
        if isinstance(role, Leader):
            at = {peer: self._exchange.answered_at(peer) for peer in role.progress}
        elif core.leader is not None:
            at = {core.leader: self._exchange.heard_at(core.leader)}
        else:
            return ()
        return [PeerAlive(peer, term, when) for peer, when in at.items() if when > _NEVER]

    def is_resting(self, events: Sequence[Event]) -> bool:
        """Return whether the group rests now, after a turn with these events."""
        core = self._core
        if core is None:
            return False
        if core.role == "leader":
            self._is_resting = self._leader_rests(core, events)
        else:
            self._exchange.claims.withdraw(self._group)
            self._is_resting = core.role == "follower" and self._follower_rests(core)
        if core.role in ("leader", "follower"):
            self._campaigns.ended(self._group)
        return self._is_resting

    def may_pass(self, again: Callable[[], None]) -> bool:
        """Return whether the core may learn that its deadline is over: campaigns take turns."""
        core = self._core
        if core is None or core.role == "leader":
            return True
        return self._campaigns.may_begin(self._group, again)

    def wake_at(self, deadline: float) -> float:
        """Return the next of the moments at which all groups wake that have to.

        So the heartbeats of groups that do not rest share batches, too.
        """
        at = math.ceil(deadline / self._grid) * self._grid
        return at if at >= deadline else at + self._grid  # the product was rounded down

    def _leader_rests(self, core: RaftCore, events: Sequence[Event]) -> bool:
        claims = self._exchange.claims
        is_used = any(type(event) in _USES for event in events)
        if is_used:
            self._used_at = self._loop.time()
        if is_used or not core.may_rest(self._exchange.absent):
            claims.withdraw(self._group)
            return False
        if self._group in claims:
            return True
        if self._loop.time() < self._used_at + self._after:
            return False
        last = core.last_index
        claims.claim(Resting(self._group, core.current_term, last, core.term_at(last)))
        return True

    def _follower_rests(self, core: RaftCore) -> bool:
        leader, state = core.leader, core.state
        if leader is None or state.forwarded or state.reads_to_forward:
            return False
        claim = self._exchange.claim_of(leader, self._group)
        if claim is None or claim.term != core.current_term:
            return False
        return claim.last_index == core.last_index == core.commit_index
