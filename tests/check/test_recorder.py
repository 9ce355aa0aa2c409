"""A recorder writes down what several clients do, and the reader gets it back."""

import threading
from pathlib import Path

import pytest

from liferaft.check.history import HistoryError, Operation
from liferaft.check.reading import read_history
from liferaft.check.recorder import HistoryRecorder


def test_what_was_recorded_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with HistoryRecorder(path) as recorder:
        recorder.invoke(1, "put", {"a": [1, None]}, key="k")
        recorder.invoke("two", "get", key=("k", 2))
        recorder.ok("two", "v")
        recorder.ok(1)
        recorder.invoke(1, "put", "w", key="k")
        recorder.fail(1)
        recorder.invoke(1, "put", "x", key="k")
        recorder.info(1, "timed out")
        recorder.invoke(1, "put", "y", key="k")

    assert [
        Operation(1, "put", {"a": [1, None]}, None, 1, 4, "k", 1),
        Operation("two", "get", None, "v", 2, 3, ("k", 2), 2),
        Operation(1, "put", "x", None, 7, None, "k", 7),
        Operation(1, "put", "y", None, 9, None, "k", 9),
    ] == read_history(path)


def test_a_line_is_in_the_file_before_the_call_is_made(tmp_path: Path) -> None:
    with HistoryRecorder(tmp_path / "history") as recorder:
        recorder.invoke(1, "read")

        assert 1 == len(read_history(recorder.path))


def test_clients_in_threads_share_a_recorder(tmp_path: Path) -> None:
    """No line is lost, and none is within another."""

    def work(recorder: HistoryRecorder) -> None:
        process = recorder.new_process()
        for number in range(200):
            recorder.invoke(process, "write", number)
            recorder.ok(process)

    with HistoryRecorder(tmp_path / "history") as recorder:
        clients = [threading.Thread(target=work, args=(recorder,)) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    operations = read_history(recorder.path)

    assert {process: list(range(200)) for process in range(4)} == {
        process: [each.argument for each in operations if each.process == process]
        for process in range(4)
    }
    assert all(each.returned_at for each in operations)


def test_a_recorder_appends(tmp_path: Path) -> None:
    for process in (1, 2):
        with HistoryRecorder(tmp_path / "history") as recorder:
            recorder.invoke(process, "read")

    assert [1, 2] == [each.process for each in read_history(tmp_path / "history")]


def test_misuse_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with HistoryRecorder(tmp_path / "history") as recorder:
        with pytest.raises(HistoryError, match="call invoke first"):
            recorder.ok(1)
        with pytest.raises(HistoryError, match="cannot be written as JSON"):
            recorder.invoke(1, "write", object())
        recorder.invoke(1, "write", 1)
        with pytest.raises(HistoryError, match="call ok, fail or info first"):
            recorder.invoke(1, "write", 2)
    with pytest.raises(HistoryError, match="closed: make a new one"):
        recorder.ok(1)

    assert 1 == len(read_history(recorder.path))
