"""The tests of rpc leave no event loop behind."""

import asyncio
import itertools
import random

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say that there is no loop beside those of the tests.

    looptime asks for the current loop around tests that are not async, too; asyncio would make one
    then, which nobody closes, and the warning would fail whichever test comes next.
    """
    asyncio.set_event_loop(None)


@pytest.fixture
def one_chance(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all that stubs and hosts draw follow from the test's seed."""
    numbers = itertools.count()
    draw = random.Random

    def make() -> random.Random:
        return draw(f"{seed} {next(numbers)}")

    monkeypatch.setattr(random, "SystemRandom", make)
