"""The tests leave no event loop behind, and skip by name what this machine cannot do."""

import asyncio

import pytest

from liferaft.chaos.loop_disk import enter_private_mounts
from liferaft.chaos.needs import Need, lacking


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say that there is no loop beside those of the tests.

    looptime asks for the current loop around tests that are not async, too; asyncio would make one
    then, which nobody closes, and the warning would fail whichever test comes next.
    """
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session", autouse=True)
def _private_mounts() -> None:
    """Keep our mounts from processes that tests beside us begin: who inherits one, holds it."""
    enter_private_mounts()


def _skip_without(*needs: Need) -> None:
    if reason := lacking(needs):
        pytest.skip(reason)


@pytest.fixture
def strace() -> None:
    """Skip where strace is not to be had."""
    _skip_without(Need.STRACE)


@pytest.fixture
def loop_devices() -> None:
    """Skip where file systems of our own are not to be had."""
    _skip_without(Need.LOOP)
