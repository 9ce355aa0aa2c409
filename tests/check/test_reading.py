"""Every format says the same, and what is none of them is refused with file and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.check.edn import parse_edn
from liferaft.check.history import HistoryError, Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import MODELS
from liferaft.check.reading import parse_history, read_history
from liferaft.check.recorder import HistoryRecorder

HISTORIES = Path(__file__).parent / "histories"


@pytest.mark.parametrize(
    ("name", "model", "outcome"),
    [
        ("register.log", "cas-register", Outcome.LINEARIZABLE),
        ("register-stale.log", "cas-register", Outcome.VIOLATION),
        ("kv.edn", "kv", Outcome.LINEARIZABLE),
        ("kv-lost.edn", "kv", Outcome.VIOLATION),
    ],
)
def test_histories_in_files_have_their_known_verdicts(
    name: str, model: str, outcome: Outcome
) -> None:
    assert outcome is check(MODELS[model](), read_history(HISTORIES / name)).outcome


def test_a_failure_did_not_happen_and_no_answer_may_have() -> None:
    operations = parse_history(
        "INFO jepsen.util - 0\t:invoke\t:write\t1\n"
        "INFO jepsen.util - 1\t:invoke\t:cas\t[1 2]\n"
        "INFO jepsen.util - 2\t:invoke\t:read\tnil\n"
        "INFO jepsen.util - 0\t:fail\t:write\t1\n"
        "INFO jepsen.util - 1\t:info\t:cas\t:timed-out\n"
        "INFO jepsen.util - 2\t:fail\t:read\t:timed-out\n"
    )

    assert [("cas", [1, 2], None)] == [(o.function, o.argument, o.returned_at) for o in operations]


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "history.ndjson"
    with HistoryRecorder(file) as recorder:
        recorder.record(1, "invoke", "put", key="k", value="v", time=0.5)
        recorder.record(2, "invoke", "get", key="k")
        recorder.record(1, "ok", "put", key="k")
        recorder.record(2, "ok", "get", key="k", value="v")

    assert [
        Operation(1, "put", "v", None, 1, 3, "k", 1),
        Operation(2, "get", None, "v", 2, 4, "k", 2),
    ] == read_history(file)


def test_a_process_without_an_answer_may_go_on() -> None:
    operations = parse_history(
        '{"process": 1, "type": "invoke", "f": "write", "value": 1}\n'
        '{"process": 1, "type": "invoke", "f": "write", "value": 2}\n'
        '{"process": 1, "type": "ok", "f": "write"}\n'
    )

    assert [(1, None), (2, 3)] == [(o.argument, o.returned_at) for o in operations]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("nothing of the kind", 1, "expected JSON lines"),
        ("", None, "holds no events"),
        ('{"process": 1, "type": "invoke", "f": "read"}\n{"process": 1', 2, "expected"),
        ('{"process": 1, "type": "done", "f": "read"}', 1, "Invalid enum value"),
        ('{"process": 1, "type": "ok", "f": "read"}', 1, "has asked nothing"),
        ("{:process 1, :type :invoke, :f :read, :value [1 2}", 1, "closes nothing"),
        ("{:process 1, :type :gone, :f :read}", 1, "must be one of"),
        ("{:process 1, :type :invoke}", 1, "expected :process, :type and :f"),
        ("INFO jepsen.util - 3 :invoked :read nil", 1, "expected PROCESS"),
        ("INFO jepsen.util - 3 :invoke :read #=(boom)", 1, "no value"),
        (
            "INFO jepsen.util - 3 :invoke :read nil\nINFO jepsen.util - 3 :ok :write 1",
            2,
            "asked for 'read'",
        ),
    ],
)
def test_an_unreadable_line_is_named(text: str, line: int | None, said: str) -> None:
    with pytest.raises(HistoryError, match=said) as caught:
        parse_history(text, file="h.log")

    assert ("h.log", line) == (caught.value.file, caught.value.line)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(HistoryError, match="No such file"):
        read_history("no/such/history.log")


def test_edn_is_read_and_never_evaluated() -> None:
    assert {"a": [1, -2.5, None, True, "x\n", "k"], "b": {}} == parse_edn(
        '{:a [1, -2.5 nil true "x\\n" :k], :b {}}'
    )
    with pytest.raises(ValueError, match="nested deeper"):
        parse_edn("[" * 100 + "]" * 100)


@given(
    st.text(alphabet=':{}[]()" \n\t,INFOjepsenutil.-processtypeinvok0123456789"fvalu', max_size=80)
)
def test_only_history_errors_come_out(text: str) -> None:
    try:
        parse_history(text)
    except HistoryError:
        return  # the one error that readers may end with
