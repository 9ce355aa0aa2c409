"""The tests that open sockets run on asyncio's loop and on uvloop's; the others on asyncio's."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

TESTS_OF_SOCKETS = {
    "test_accepting.py",
    "test_base.py",
    "test_system.py",
    "test_tcp.py",
    "test_unix.py",
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say that there is no loop beside those of the tests.

    looptime asks for the current loop around tests that are not async, too; asyncio would make one
    then, which nobody closes, and the warning would fail whichever test comes next.
    """
    asyncio.set_event_loop(None)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name in TESTS_OF_SOCKETS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
