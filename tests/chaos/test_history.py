"""What clients record survives them, and is read as what happened and what may have."""

from pathlib import Path

import msgspec
import pytest

from liferaft.chaos.history import Call, Event, Recorder, calls_of, read_events

ASKED = Event(1, "invoke", "put", 1.25, "k", "v")
DONE = Event(1, "ok", "put", 1.5, "k", "v")
CALL = Call(1, "put", "k", "v", "v", 1.25, 1.5)


def test_an_event_is_one_line_of_the_documented_form(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history")
    recorder.record(ASKED)
    recorder.close()
    lines = (tmp_path / "history").read_text().splitlines()

    expected = {"process": 1, "type": "invoke", "f": "put", "key": "k", "value": "v", "time": 1.25}

    assert [expected] == [msgspec.json.decode(line) for line in lines]


def test_a_second_life_of_a_recorder_appends(tmp_path: Path) -> None:
    for event in (ASKED, DONE):
        recorder = Recorder(tmp_path / "history")
        recorder.record(event)
        recorder.close()

    assert [ASKED, DONE] == list(read_events(tmp_path / "history"))


def test_a_line_without_its_end_is_no_event(tmp_path: Path) -> None:
    """The client was killed in the middle of it, so the call was not made yet."""
    file = tmp_path / "history"
    file.write_bytes(msgspec.json.encode(ASKED) + b"\n" + msgspec.json.encode(DONE)[:-3])

    assert [ASKED] == list(read_events(file))


def test_an_answered_call_has_both_times() -> None:
    assert [CALL] == calls_of([ASKED, DONE])


@pytest.mark.parametrize(
    "events",
    [[ASKED], [ASKED, Event(1, "info", "put", 9.0, "k", "v")]],
    ids=["killed", "no answer"],
)
def test_a_call_without_an_answer_may_have_happened_at_any_time_since(events: list[Event]) -> None:
    (call,) = calls_of(events)

    assert (1.25, None, None) == (call.invoked_at, call.returned_at, call.result)


def test_a_call_that_failed_for_certain_is_left_out() -> None:
    assert [] == calls_of([ASKED, Event(1, "fail", "put", 2.0, "k", "v")])


@pytest.mark.parametrize("events", [[DONE], [ASKED, ASKED]], ids=["answer only", "two at once"])
def test_events_that_no_process_can_have_are_refused(events: list[Event]) -> None:
    with pytest.raises(ValueError, match="process 1 cannot have"):
        calls_of(events)
