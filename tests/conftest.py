"""What holds for all tests."""

import asyncio
import signal

import pytest

from tests.profiles import load_profile

load_profile()

# A shell lets what it runs in the background ignore Ctrl-C, and so would every process of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say that there is no loop beside those of the tests.

    looptime asks for the current loop around tests that are not async, too; asyncio would make one
    then, which nobody closes, and the warning would fail whichever test comes next.
    """
    asyncio.set_event_loop(None)
