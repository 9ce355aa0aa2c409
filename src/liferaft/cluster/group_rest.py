"""Lets one group of many fall silent, and has the nodes' beats vouch for its members.

A leader rests when it has nothing to say, to write down or to apply and was not used for a moment,
and claims so in its node's beats. A follower rests while its leader's node is alive and claims so
of exactly the log that it has, and has applied. Both wake when anything happens.

Whether they rest or not, no follower campaigns while its leader's node is alive and claims to lead,
and no leader steps down while a quorum's nodes hear it: so a machine that is too slow for
heartbeats in time does not lose its leaders besides.

Nothing is decided here but when a deadline of the core may pass.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final

from liferaft.cluster.beats import Claim
from liferaft.cluster.campaigns import Campaigns
from liferaft.cluster.exchange import Exchange
from liferaft.cluster.introductions import Introductions
from liferaft.raft.core import RaftCore
from liferaft.raft.events import (
    ChangeAsked,
    Event,
    PeerAlive,
    Proposed,
    ReadAsked,
    TimePassed,
    TransferAsked,
)
from liferaft.raft.state import Leader
from liferaft.raft.types import NodeId

REST_AFTER: Final = 0.3
"""Seconds without use after which a group rests: waking it costs a few rounds of heartbeats."""

WAKES_PER_BEAT: Final = 5
"""How often between two beats groups that are awake can be woken: all at once, then."""

_NEVER: Final = float("-inf")

_USES: Final = frozenset((Proposed, ReadAsked, ChangeAsked, TransferAsked))


class GroupRest:
    """Answers `driver.Rest` for one group; `core` is known once it is bound.

    `absent` are the nodes without which the group went to rest.
    """

    def __init__(
        self,
        group: str,
        exchange: Exchange,
        campaigns: Campaigns,
        introductions: Introductions,
        *,
        after: float = REST_AFTER,
    ) -> None:
        self.absent: frozenset[NodeId] = frozenset()
        self._group = group
        self._exchange = exchange
        self._campaigns = campaigns
        self._introductions = introductions
        self._after = after
        self._grid = exchange.interval / WAKES_PER_BEAT
        self._core: RaftCore | None = None
        self._loop = asyncio.get_running_loop()
        self._is_resting = False
        self._used_at = _NEVER

    def bind(self, core: RaftCore) -> None:
        """Learn of which core it is."""
        self._core = core

    def end(self) -> None:
        """Claim nothing more."""
        self._exchange.claims.withdraw(self._group)
        self._campaigns.forget(self._group)

    @property
    def is_at_rest(self) -> bool:
        """Whether the group rests, as of its last turn."""
        return self._is_resting

    @property
    def is_kept_waiting(self) -> bool:
        """Whether the group is to campaign when it is its turn."""
        return self._campaigns.is_waiting(self._group)

    def knows(self, claim: Claim) -> bool:
        """Return whether the group rests by that very claim already."""
        core = self._core
        is_same = core is not None and claim.term == core.current_term
        return self._is_resting and is_same and self._has_all(claim)

    # What the driver asks.

    def vouchers(self) -> Sequence[Event]:
        """Return the nodes' signs of life, for a group that rests or has lost sight of others."""
        core = self._core
        if core is None:
            return ()
        role = core.state.role
        if isinstance(role, Leader):
            if self._is_resting or role.contact_until <= self._loop.time():
                return [self._answers(core, peer) for peer in role.progress]
        elif self._is_resting and core.leader is not None:
            return [self._is_heard(core, core.leader)]
        return ()

    def is_resting(self, events: Sequence[Event], *, is_busy: bool) -> bool:
        """Return whether the group rests now, after a turn with these events."""
        core = self._core
        if core is None:
            return False
        if core.role == "leader":
            self._is_resting = self._leader_rests(core, events, is_busy=is_busy)
        else:
            self._exchange.claims.withdraw(self._group)
            may_rest = core.role == "follower" and not is_busy
            self._is_resting = may_rest and self._follower_rests(core)
        if core.role in ("leader", "follower"):
            self._campaigns.ended(self._group)
        return self._is_resting

    def overdue(self, again: Callable[[], None]) -> Event | None:
        """Return what the core learns when its deadline is over: campaigns take turns."""
        core = self._core
        if core is None or core.role == "leader":
            return TimePassed()
        if core.leader is not None and self._claim(core) is not None:
            return self._is_heard(core, core.leader)
        return TimePassed() if self._campaigns.may_begin(self._group, again) else None

    def wake_at(self, deadline: float) -> float:
        """Return the next of the moments at which all groups wake that have to.

        So the heartbeats of groups that do not rest share batches, too.
        """
        at = math.ceil(deadline / self._grid) * self._grid
        return at if at >= deadline else at + self._grid  # the product was rounded down

    def _is_heard(self, core: RaftCore, leader: NodeId) -> PeerAlive:
        return PeerAlive(leader, core.current_term, self._exchange.heard_at(leader))

    def _answers(self, core: RaftCore, peer: NodeId) -> PeerAlive:
        return PeerAlive(peer, core.current_term, self._exchange.answered_at(peer))

    def _claim(self, core: RaftCore) -> Claim | None:
        """Return the claim of the leader that this node follows, whose node is alive."""
        if core.leader is None:
            return None
        claim = self._exchange.claim_of(core.leader, self._group)
        return claim if claim is not None and claim.term == core.current_term else None

    def _leader_rests(self, core: RaftCore, events: Sequence[Event], *, is_busy: bool) -> bool:
        claims, absent = self._exchange.claims, self._exchange.absent
        if any(type(event) in _USES for event in events):
            self._used_at = self._loop.time()
        is_unused = self._is_resting or self._loop.time() >= self._used_at + self._after
        may_rest = (
            is_unused
            and not is_busy
            and core.may_rest(absent)
            and not self._introductions.has_news(core.configuration)
        )
        last = core.last_index if may_rest else 0
        self.absent = absent if may_rest else frozenset()
        claims.claim(
            Claim(self._group, core.current_term, last, core.term_at(last) if may_rest else 0)
        )
        return may_rest

    def _follower_rests(self, core: RaftCore) -> bool:
        state, claim = core.state, self._claim(core)
        if claim is None or state.forwarded or state.reads_to_forward:
            return False
        return claim.is_resting and self._has_all(claim)

    def _has_all(self, claim: Claim) -> bool:
        core = self._core
        return core is not None and claim.last_index == core.last_index == core.commit_index
