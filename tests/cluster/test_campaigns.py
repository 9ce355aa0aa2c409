"""Who of a node's many groups may campaign, and when the others come to it."""

import asyncio

import pytest

from liferaft.cluster.campaigns import Campaigns

pytestmark = pytest.mark.looptime

PATIENCE = 0.3


class Asking:
    """Groups that ask, and ask again when they are called."""

    def __init__(self, campaigns: Campaigns) -> None:
        self.begun: list[str] = []
        self._campaigns = campaigns

    def ask(self, group: str) -> None:
        if self._campaigns.may_begin(group, lambda: self.ask(group)):
            self.begun.append(group)


async def settle() -> None:
    """Let everything happen that happens at once."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_few_campaign_at_a_time_and_the_next_one_when_one_has_ended() -> None:
    campaigns = Campaigns(PATIENCE, at_once=2)
    asking = Asking(campaigns)
    for group in "abcd":
        asking.ask(group)
    at_first = list(asking.begun)
    campaigns.ended("b")
    await settle()

    assert ["a", "b"] == at_first
    assert ["a", "b", "c"] == asking.begun


async def test_one_that_campaigns_again_needs_no_other_turn() -> None:
    asking = Asking(Campaigns(PATIENCE, at_once=1))
    asking.ask("a")
    asking.ask("b")
    asking.ask("a")

    assert ["a", "a"] == asking.begun


async def test_who_asks_twice_waits_once() -> None:
    campaigns = Campaigns(PATIENCE, at_once=1)
    asking = Asking(campaigns)
    for group in "abbb":
        asking.ask(group)
    campaigns.ended("a")
    await settle()

    assert ["a", "b"] == asking.begun


async def test_one_that_wants_its_turn_no_more_leaves_it_to_the_next() -> None:
    """It has found a leader while it waited."""
    campaigns = Campaigns(PATIENCE, at_once=1)
    asking = Asking(campaigns)
    asking.ask("a")
    assert not campaigns.may_begin("b", lambda: None)
    asking.ask("c")
    campaigns.ended("a")
    await settle()

    assert ["a", "c"] == asking.begun


async def test_a_campaign_that_does_not_end_is_waited_for_no_longer_than_one_can_take() -> None:
    asking = Asking(Campaigns(PATIENCE, at_once=1))
    asking.ask("a")
    asking.ask("b")
    await asyncio.sleep(0.9 * PATIENCE)
    before = list(asking.begun)
    await asyncio.sleep(0.2 * PATIENCE)

    assert ["a"] == before
    assert ["a", "b"] == asking.begun


async def test_a_group_that_has_gone_is_not_called() -> None:
    campaigns = Campaigns(PATIENCE, at_once=1)
    asking = Asking(campaigns)
    for group in "abc":
        asking.ask(group)
    campaigns.forget("b")
    campaigns.forget("a")
    await settle()

    assert ["a", "c"] == asking.begun
