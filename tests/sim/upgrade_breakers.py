"""Guards of upgrades taken out, one at a time: the simulator has to notice; see breakers.py."""

from collections.abc import Callable, Iterable

import pytest
from msgspec.structs import replace

from liferaft.cluster.introductions import Introductions
from liferaft.cluster.member import Member
from liferaft.raft.types import Configuration
from tests.sim.breakers import Breaker


def _let_count(patch: pytest.MonkeyPatch, choose: Callable[[Iterable[int]], int]) -> None:
    """Let a level count that is chosen among those that were heard."""
    target = Introductions._target

    def broken(self: Introductions, configuration: Configuration) -> Configuration:
        level = choose(said.level for said in self._heard.values())
        wanted = target(self, configuration)
        return replace(wanted, level=max(level, wanted.level))

    patch.setattr(Introductions, "_target", broken)


def count_the_level_of_those_that_were_heard(patch: pytest.MonkeyPatch) -> None:
    """A member that is away may be of an older program."""
    _let_count(patch, min)


def let_the_newest_level_count(patch: pytest.MonkeyPatch) -> None:
    """Who is of an older program does not understand what comes with it."""
    _let_count(patch, max)
    patch.setattr(Member, "_check_level", lambda *_: None)


UPGRADE_BREAKERS: tuple[Breaker, ...] = (
    count_the_level_of_those_that_were_heard,
    let_the_newest_level_count,
)
