"""What all storage tests share."""

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_loop_by_accident() -> None:
    """Keep looptime's plugin from leaving an unclosed loop behind.

    It asks the policy for the current loop before every test, and the policy makes one when the
    first test of a session is not async. After any `set_event_loop` the policy makes none.
    """
    asyncio.set_event_loop(None)
