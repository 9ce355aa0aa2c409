"""A plain class as a state machine: in the order of the log, exactly once, the same everywhere."""

import threading
import uuid
from collections.abc import Iterable

import msgspec
import pytest

from liferaft.errors import (
    ConfigurationError,
    InterfaceError,
    InvariantViolated,
    ProtocolError,
)
from liferaft.raft.types import Entry, EntryKind
from liferaft.replicated.command import CommandKind, pack
from liferaft.replicated.determinism import now, random, uuid4
from liferaft.replicated.machine import ReplicatedMachine, query
from liferaft.replicated.sessions import REPLIES_MAX, SESSION_IDLE_MAX
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.interface import raises
from liferaft.rpc.wire import Call
from tests.replicated.commands import ALICE, BOB, Log, failure_of, result_of


class TooLong(ValueError):
    """A line does not fit."""

    length: int

    def __init__(self, length: int) -> None:
        super().__init__(f"{length} characters do not fit")
        self.length = length


class Book:
    """Lines that are written one below the other."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @raises(TooLong)
    def write(self, line: str) -> int:
        self._lines.append(line)
        if len(line) > 20:
            raise TooLong(len(line))
        return len(self._lines)

    def stamp(self) -> tuple[float, float, uuid.UUID]:
        return now(), random(), uuid4()

    def tear(self) -> None:
        raise ZeroDivisionError("torn")

    @query
    def lines(self) -> list[str]:
        return self._lines


def machine_after(entries: Iterable[Entry]) -> ReplicatedMachine:
    machine = ReplicatedMachine({"Book": Book()})
    for entry in entries:
        machine.apply(entry)
    return machine


def test_commands_run_in_the_order_of_the_log() -> None:
    log = Log()
    machine = machine_after([log.opening(ALICE)])

    answers = [
        machine.apply(log.call(ALICE, 1, "write", "one")),
        machine.apply(log.call(ALICE, 2, "write", "two")),
    ]

    assert [1, 2] == [result_of(answer) for answer in answers]
    assert ["one", "two"] == result_of(machine.apply(log.call(ALICE, 3, "lines")))


def test_a_repeated_command_gets_the_first_one_s_answer_and_does_not_run_again() -> None:
    """Trap 41: whichever leader the repeat reached, its log holds the command twice."""
    log = Log()
    machine = machine_after([log.opening(ALICE)])
    first = machine.apply(log.call(ALICE, 1, "write", "one"))

    again = machine.apply(log.call(ALICE, 1, "write", "one"))

    assert first == again
    assert ["one"] == result_of(machine.apply(log.call(ALICE, 2, "lines")))


def test_a_late_call_is_not_taken_for_a_repeat() -> None:
    """Trap 43: calls in flight at the same time reach the log in any order."""
    log = Log()
    machine = machine_after([log.opening(ALICE), log.call(ALICE, 2, "write", "second")])

    late = machine.apply(log.call(ALICE, 1, "write", "first"))

    assert 2 == result_of(late)


def test_two_sessions_do_not_share_their_numbers() -> None:
    log = Log()
    machine = machine_after([log.opening(ALICE), log.opening(BOB)])
    machine.apply(log.call(ALICE, 1, "write", "alice's"))

    answer = machine.apply(log.call(BOB, 1, "write", "bob's"))

    assert 2 == result_of(answer)


def test_an_old_copy_of_an_acknowledged_call_does_not_run_again() -> None:
    log = Log()
    machine = machine_after([log.opening(ALICE), log.call(ALICE, 1, "write", "one")])
    machine.apply(log.call(ALICE, 2, "write", "two", acked_below=2))

    answer = machine.apply(log.call(ALICE, 1, "write", "one"))

    assert "OutcomeUnknown" == failure_of(answer).type_name
    assert ["one", "two"] == result_of(machine.apply(log.call(ALICE, 3, "lines")))


def test_a_forgotten_session_gets_an_error_and_never_a_second_execution() -> None:
    """Trap 42."""
    log = Log()
    later = 100.0 + SESSION_IDLE_MAX + 1
    machine = machine_after(
        [
            log.opening(ALICE),
            log.call(ALICE, 1, "write", "one"),
            log.opening(BOB, wall_now=later),
        ]
    )

    answer = machine.apply(log.call(ALICE, 1, "write", "one", wall_now=later))

    assert "SessionExpired" == failure_of(answer).type_name
    assert ["one"] == result_of(machine.apply(log.call(BOB, 1, "lines", wall_now=later)))


def test_a_session_that_keeps_too_many_replies_is_refused_before_anything_runs() -> None:
    log = Log()
    machine = machine_after([log.opening(ALICE)])
    for number in range(REPLIES_MAX):
        machine.apply(log.call(ALICE, number + 2, "write", ""))

    answer = machine.apply(log.call(ALICE, 1, "write", "one too many"))

    assert "Overloaded" == failure_of(answer).type_name
    assert REPLIES_MAX == len(machine.objects["Book"].instance._lines)  # type: ignore[attr-defined] # it is a Book


def test_a_declared_exception_is_the_command_s_result() -> None:
    """Trap 47: it is kept, and a repeat is answered by it."""
    log = Log()
    machine = machine_after([log.opening(ALICE)])
    entry = log.call(ALICE, 1, "write", "x" * 21)

    failure = failure_of(machine.apply(entry))
    again = failure_of(machine.apply(log.call(ALICE, 1, "write", "x" * 21)))

    assert ("declared", "TooLong") == (failure.kind, failure.type_name)
    assert failure == again


def test_an_undeclared_exception_carries_no_path_of_this_machine() -> None:
    """Trap 46: replicas may be installed in different places, and must answer the same."""
    log = Log()
    machine = machine_after([log.opening(ALICE)])

    failure = failure_of(machine.apply(log.call(ALICE, 1, "tear")))

    assert ("remote", "ZeroDivisionError", "torn") == (
        failure.kind,
        failure.type_name,
        failure.message,
    )
    assert __file__ not in failure.traceback


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [("write", (5,), "InvalidArgument"), ("write", (), "InvalidArgument"), ("burn", (), "NoSuch")],
)
def test_a_call_that_does_not_fit_is_answered_and_harms_nothing(
    method: str, arguments: tuple[object, ...], error: str
) -> None:
    log = Log()
    machine = machine_after([log.opening(ALICE)])

    failure = failure_of(machine.apply(log.call(ALICE, 1, method, *arguments)))

    assert failure.type_name.startswith(error)


def test_an_unknown_object_is_answered() -> None:
    log = Log()
    machine = machine_after([log.opening(ALICE)])

    failure = failure_of(machine.apply(log.call(ALICE, 1, "write", "x", object_name="Film")))

    assert "NoSuchObject" == failure.type_name


def test_replicas_that_applied_the_same_log_are_equal() -> None:
    log = Log()
    entries = [
        log.opening(ALICE),
        log.opening(BOB),
        log.call(ALICE, 1, "write", "one"),
        log.call(BOB, 1, "stamp"),
        log.call(BOB, 2, "tear"),
        log.call(ALICE, 2, "write", "two", acked_below=2),
    ]

    assert machine_after(entries).digest() == machine_after(entries).digest()


def test_a_digest_tells_states_and_sessions_apart() -> None:
    one, other = Log(), Log()
    opened = [one.opening(ALICE), other.opening(ALICE)]
    written = one.call(ALICE, 1, "write", "one")
    read = other.call(ALICE, 1, "lines")

    digests = {
        machine_after([opened[0]]).digest(),
        machine_after([opened[0], written]).digest(),
        machine_after([opened[1], read]).digest(),
    }

    assert 3 == len(digests)


def test_time_and_chance_come_from_the_entry() -> None:
    entry = [(log := Log()).opening(ALICE), log.call(ALICE, 1, "stamp", wall_now=500.0, seed=9)]
    one, other = machine_after(entry[:1]), machine_after(entry[:1])

    first, second = result_of(one.apply(entry[1])), result_of(other.apply(entry[1]))

    assert 500.0 == first[0]
    assert first == second


def test_the_log_s_time_never_falls_when_another_leader_s_clock_is_behind() -> None:
    log = Log()
    machine = machine_after([log.opening(ALICE), log.call(ALICE, 1, "stamp", wall_now=500.0)])

    seen, _, _ = result_of(machine.apply(log.call(ALICE, 2, "stamp", wall_now=400.0)))

    assert 500.0 == seen


def test_an_entry_is_never_applied_twice() -> None:
    log = Log()
    entry = log.opening(ALICE)
    machine = machine_after([entry])

    with pytest.raises(InvariantViolated, match="entry 1 is to be applied after 1"):
        machine.apply(entry)


def test_an_entry_of_an_unknown_kind_stops_the_node() -> None:
    entry = Entry(term=1, index=1, kind=EntryKind.COMMAND, data=b"\xff" + bytes(32))

    with pytest.raises(InvariantViolated, match="unknown kind 255"):
        machine_after([entry])


def test_a_class_with_async_methods_cannot_be_replicated() -> None:
    class Waits:
        async def wait(self) -> None: ...

    with pytest.raises(InterfaceError, match=r"Waits\.wait cannot be replicated"):
        ReplicatedMachine({"Waits": Waits()})


def test_a_class_whose_state_cannot_be_encoded_is_refused_at_once() -> None:
    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def use(self) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"Locked\.lock could not .* give the class snapshot\(\)"
    ):
        ReplicatedMachine({"Locked": Locked()})


def test_queries_are_those_that_are_marked() -> None:
    machine = ReplicatedMachine({"Book": Book()})

    assert frozenset({"lines"}) == machine.objects["Book"].queries


def test_an_entry_that_carries_no_call_ends_the_node_with_a_declared_error() -> None:
    log = Log()
    data = pack(CommandKind.CALL, session=ALICE, wall_now=100.0, seed=7, frame=b"\x97\x06")

    with pytest.raises(InvariantViolated, match="carries no call"):
        machine_after([log.opening(ALICE), Entry(1, 2, EntryKind.COMMAND, data)])


def test_what_a_host_lets_in_can_be_applied_a_few_calls_deeper() -> None:
    """A frame that is nested just so deep that its host can read it must not end every replica."""
    log = Log()
    machine = machine_after([log.opening(ALICE)])
    let_in = 0
    for levels in range(50, 1000, 10):
        frame = encode(
            Call(levels, 1, "Book", "write", None, msgspec.Raw(b"\x91" * levels + b"\x01"))
        )
        try:
            decode_frame(frame)
        except ProtocolError:
            continue
        let_in += 1
        data = pack(CommandKind.CALL, session=ALICE, wall_now=100.0, seed=7, frame=frame)
        apply_deeper(machine, Entry(1, levels, EntryKind.COMMAND, data), calls=50)

    assert 0 < let_in


def apply_deeper(machine: ReplicatedMachine, entry: Entry, *, calls: int) -> bytes:
    if calls:
        return apply_deeper(machine, entry, calls=calls - 1)
    return machine.apply(entry)
