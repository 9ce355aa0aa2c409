"""What a client does, and how it takes down what became of it."""

import random as random_module
from collections.abc import Iterator

import pytest

from liferaft.chaos.client import KEYS_LAST, PROCESSES_PER_CLIENT, Client
from liferaft.chaos.history import Event, calls_of
from liferaft.errors import (
    DeadlineExceeded,
    LiferaftError,
    NoLeader,
    OutcomeUnknown,
    Overloaded,
    RemoteError,
    Unreachable,
)
from liferaft.recipes.kv import KeyValue
from liferaft.recipes.todo import TodoList


class Broken(KeyValue):
    """Every call ends with the same error."""

    def __init__(self, error: LiferaftError) -> None:
        super().__init__()
        self._error = error

    def put(self, key: bytes, value: bytes) -> None:
        raise self._error

    def get(self, key: bytes) -> bytes | None:
        raise self._error


def name_of(error: LiferaftError) -> str:
    return type(error).__name__


def client_of(store: KeyValue, events: list[Event], now: Iterator[float]) -> Client:
    return Client(
        3,
        store,
        TodoList(),
        random=random_module.Random(1),
        record=events.append,
        clock=lambda: next(now),
    )


def ticking(start: float = 100.0) -> Iterator[float]:
    while True:
        start += 0.001
        yield start


def test_everything_written_is_unlike_all_else_and_every_read_fits() -> None:
    events: list[Event] = []
    client = client_of(KeyValue(), events, ticking())
    for _ in range(200):
        client.act()
    calls = calls_of(events)
    written = [call.argument for call in calls if call.function in ("put", "add")]
    values: dict[str | None, object] = {}
    wrong: list[object] = []
    for call in calls:
        if call.function == "put":
            values[call.key] = call.argument
        elif call.function == "get" and call.result != values.get(call.key):
            wrong.append(call)

    assert {"put", "get", "add"} == {call.function for call in calls}
    assert len(written) == len(set(written))
    assert [] == wrong


def test_clients_go_on_to_new_keys_together() -> None:
    events: list[Event] = []
    early = client_of(KeyValue(), events, ticking(10 * KEYS_LAST))
    late = client_of(KeyValue(), events, ticking(11 * KEYS_LAST))
    for client in (early, late):
        for _ in range(30):
            client.act()

    assert {"10", "11"} == {event.key.partition("-")[0] for event in events if event.key}


@pytest.mark.parametrize(
    "error",
    [NoLeader("none"), Overloaded("full"), Unreachable("nobody")],
    ids=name_of,
)
def test_a_call_that_was_not_executed_for_certain_failed(error: LiferaftError) -> None:
    events: list[Event] = []
    client = client_of(Broken(error), events, ticking())
    for _ in range(20):
        client.act()
    stored = [event for event in events if event.key]

    assert {"invoke", "fail"} == {event.type for event in stored}
    assert {3 * PROCESSES_PER_CLIENT} == {event.process for event in stored}


@pytest.mark.parametrize(
    "error",
    [DeadlineExceeded("late"), OutcomeUnknown("restarted")],
    ids=name_of,
)
def test_after_an_unknown_outcome_a_client_is_another_process(error: LiferaftError) -> None:
    events: list[Event] = []
    client = client_of(Broken(error), events, ticking())
    for _ in range(20):
        client.act()
    unknown = [event.process for event in events if event.type == "info"]

    assert len(unknown) > 5
    assert len(unknown) == len(set(unknown))
    assert len(unknown) == sum(call.returned_at is None for call in calls_of(events))


def test_an_error_that_no_fault_explains_ends_the_client() -> None:
    events: list[Event] = []
    client = client_of(Broken(RemoteError("KeyError", "k")), events, ticking())

    with pytest.raises(RemoteError, match="KeyError"):
        act_often(client)
    assert "info" == events[-1].type


def act_often(client: Client) -> None:
    for _ in range(20):
        client.act()
