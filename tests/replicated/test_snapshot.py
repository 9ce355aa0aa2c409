"""A machine's whole state goes into a snapshot and comes back, as one unit or not at all."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import pytest

from liferaft.errors import ConfigurationError, DamagedSnapshot, InvariantViolated
from liferaft.replicated.determinism import now
from liferaft.replicated.machine import ReplicatedMachine, query
from liferaft.replicated.sections import SectionKind, read_sections, write_sections
from liferaft.replicated.sessions import SESSION_IDLE_MAX
from liferaft.replicated.snapshot import SESSIONS_BYTES
from tests.replicated.commands import ALICE, BOB, Log, failure_of, result_of


@dataclass
class Line:
    text: str
    written_wall: float


class Book:
    """Lines that are written one below the other; `_last` comes with the first."""

    _last: str

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._authors: set[str] = set()

    def write(self, text: str) -> int:
        self._lines.append(Line(text, now()))
        self._authors.add(text[:1])
        self._last = text
        return len(self._lines)

    @query
    def texts(self) -> list[str]:
        return [line.text for line in self._lines]


class Counter:
    """Has a state of its own."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()

    def add(self) -> int:
        self.count += 1
        return self.count

    def snapshot(self) -> int:
        return self.count

    def restore(self, state: int) -> None:
        self.count = state


def new_machine() -> ReplicatedMachine:
    return ReplicatedMachine({"Book": Book(), "Counter": Counter()})


def written(log: Log) -> ReplicatedMachine:
    machine = new_machine()
    machine.apply(log.opening(ALICE))
    machine.apply(log.opening(BOB))
    machine.apply(log.call(ALICE, 1, "write", "one"))
    machine.apply(log.call(ALICE, 1, "add", object_name="Counter"))
    machine.apply(log.call(BOB, 2, "write", "two", wall_now=200.0))
    machine.apply(log.call(ALICE, 2, "add", object_name="Counter", wall_now=150.0))
    return machine


def restored(chunks: Iterable[bytes]) -> ReplicatedMachine:
    machine = new_machine()
    machine.install(machine.prepare(chunks))
    return machine


def test_a_restored_machine_is_equal_in_everything() -> None:
    machine = written(Log())

    other = restored(machine.snapshot())

    assert (6, machine.digest()) == (other.applied_index, other.digest())
    assert list(machine.sessions.state().items()) == list(other.sessions.state().items())


def test_a_restored_machine_answers_old_calls_from_the_sessions_and_runs_nothing_twice() -> None:
    log = Log()
    machine = written(log)
    again = log.call(BOB, 2, "write", "two")

    other = restored(machine.snapshot())

    assert machine.apply(again) == other.apply(again)
    assert ["one", "two"] == result_of(other.apply(log.call(BOB, 3, "texts")))


def test_the_log_s_time_goes_on_where_it_was() -> None:
    log = Log()
    other = restored(written(log).snapshot())

    other.apply(log.call(BOB, 3, "write", "late", wall_now=120.0))

    book = other.objects["Book"].instance
    assert isinstance(book, Book)
    assert 200.0 == book._lines[-1].written_wall


def test_the_longest_idle_session_is_forgotten_first_on_both() -> None:
    log = Log()
    machine = written(log)
    other = restored(machine.snapshot())
    opening = log.opening(b"c" * 16, wall_now=200.0 + SESSION_IDLE_MAX + 1)

    machine.apply(opening)
    other.apply(opening)

    assert machine.digest() == other.digest()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_chunks_may_be_cut_anywhere(size: int) -> None:
    machine = written(Log())
    whole = b"".join(machine.snapshot())

    other = restored(whole[start : start + size] for start in range(0, len(whole), size))

    assert machine.digest() == other.digest()


def test_nothing_is_touched_before_the_install() -> None:
    log = Log()
    snapshot = list(written(log).snapshot())
    machine = new_machine()
    before = machine.digest()

    prepared = machine.prepare(snapshot)

    assert (6, 0, before) == (prepared.applied_index, machine.applied_index, machine.digest())


def test_a_prepared_snapshot_is_made_on_another_thread_while_commands_run() -> None:
    log, other_log = Log(), Log()
    snapshot = list(written(log).snapshot())
    machine = new_machine()
    machine.apply(other_log.opening(BOB))
    prepared = []
    thread = threading.Thread(target=lambda: prepared.append(machine.prepare(snapshot)))

    thread.start()
    machine.apply(other_log.call(BOB, 1, "write", "gone"))
    thread.join()
    machine.install(prepared[0])

    assert written(Log()).digest() == machine.digest()


def test_chunks_are_made_as_they_are_asked_for() -> None:
    machine = written(Log())
    chunks = machine.snapshot()
    next(chunks)

    machine.objects["Counter"].instance.snapshot = None  # type: ignore[attr-defined] # never asked yet

    with pytest.raises(ConfigurationError, match=r"Counter\.snapshot\(\) failed"):
        list(chunks)


def test_a_command_in_the_midst_of_a_snapshot_spoils_it() -> None:
    """Half of the snapshot would be of one moment and half of another."""
    log = Log()
    machine = written(log)
    chunks = machine.snapshot()
    next(chunks)
    machine.apply(log.call(BOB, 3, "write", "between"))

    with pytest.raises(InvariantViolated, match=r"entry 7 was applied while .* was taken at 6"):
        list(chunks)


def test_a_failed_snapshot_harms_nothing() -> None:
    log = Log()
    machine = written(log)
    machine.objects["Book"].instance.late = object()  # type: ignore[attr-defined] # what spoils it
    with pytest.raises(ConfigurationError, match=r"Book\.late came after"):
        list(machine.snapshot())

    del machine.objects["Book"].instance.late  # type: ignore[attr-defined] # it is there

    assert machine.digest() == restored(machine.snapshot()).digest()


def test_a_prepared_snapshot_is_installed_once_and_where_it_was_prepared() -> None:
    """Two machines must not share what their commands change."""
    snapshot = list(written(Log()).snapshot())
    machine, other = new_machine(), new_machine()
    machine.install(prepared := machine.prepare(snapshot))

    with pytest.raises(InvariantViolated, match="installed twice"):
        machine.install(prepared)
    with pytest.raises(InvariantViolated, match="somewhere else"):
        other.install(machine.prepare(snapshot))


def test_the_state_never_goes_back() -> None:
    log = Log()
    machine = written(log)
    snapshot = list(machine.snapshot())
    machine.apply(log.call(BOB, 3, "write", "three"))
    after = machine.digest()

    with pytest.raises(InvariantViolated, match="a snapshot at 6 is to replace the state at 7"):
        machine.install(machine.prepare(snapshot))
    assert after == machine.digest()


def test_the_same_index_may_be_installed_again() -> None:
    machine = written(Log())
    before = machine.digest()

    machine.install(machine.prepare(list(machine.snapshot())))

    assert before == machine.digest()


def test_an_object_that_is_not_hosted_is_named() -> None:
    snapshot = list(written(Log()).snapshot())
    machine = ReplicatedMachine({"Book": Book()})

    with pytest.raises(ConfigurationError, match="has an object 'Counter', and this node hosts"):
        machine.prepare(snapshot)


def test_an_object_that_the_snapshot_does_not_know_is_in_its_first_state() -> None:
    """Where it was made nothing was ever done to it; what was done here since is undone."""
    log, other_log = Log(), Log()
    book_only = ReplicatedMachine({"Book": Book()})
    for index in range(5):
        book_only.apply(log.opening(bytes([index]) * 16))
    machine = new_machine()
    machine.apply(other_log.opening(ALICE))
    machine.apply(other_log.call(ALICE, 1, "add", object_name="Counter"))

    machine.install(machine.prepare(book_only.snapshot()))
    machine.apply(log.call(b"\x01" * 16, 1, "add", object_name="Counter"))

    counter = machine.objects["Counter"].instance
    assert isinstance(counter, Counter)
    assert 1 == counter.count


class Empty:
    def nothing(self) -> None: ...


class Plain:
    def __init__(self) -> None:
        self.one: int = 1
        self.other: str | None = "x"

    def forget(self) -> None:
        del self.other

    def change(self) -> None:
        self.other = None


class PlainWithMore(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.more: list[int] = [1]


def test_an_attribute_that_was_removed_stays_removed() -> None:
    log = Log()
    machine = ReplicatedMachine({"it": Plain()})
    machine.apply(log.opening(ALICE))
    machine.apply(log.call(ALICE, 1, "forget", object_name="it"))
    fresh = Plain()
    other = ReplicatedMachine({"it": fresh})

    other.install(other.prepare(machine.snapshot()))

    assert {"one": 1} == vars(fresh)


def test_an_attribute_that_the_class_got_since_has_its_first_value() -> None:
    fresh = PlainWithMore()
    machine, other = ReplicatedMachine({"it": Plain()}), ReplicatedMachine({"it": fresh})
    fresh.more.append(2)

    other.install(other.prepare(machine.snapshot()))

    assert {"one": 1, "other": "x", "more": [1]} == vars(fresh)


def test_an_attribute_that_the_class_has_no_more_is_named() -> None:
    machine, other = (ReplicatedMachine({"it": each}) for each in (PlainWithMore(), Plain()))

    with pytest.raises(ConfigurationError, match=r"the snapshot has Plain\.more, and the class"):
        other.prepare(machine.snapshot())


def test_an_object_without_any_attribute_has_its_place_in_the_snapshot() -> None:
    machine = ReplicatedMachine({"one": Empty(), "other": Empty()})
    filled = PlainWithMore()
    later = ReplicatedMachine({"one": filled, "other": Empty()})
    filled.one = 5

    later.install(later.prepare(machine.snapshot()))

    assert vars(PlainWithMore()) == vars(filled)


def test_objects_that_share_what_can_be_changed_are_refused_at_once() -> None:
    plain, other = PlainWithMore(), PlainWithMore()
    other.more = plain.more

    with pytest.raises(ConfigurationError, match="PlainWithMore is a PlainWithMore that another"):
        ReplicatedMachine({"one": plain, "two": plain})
    with pytest.raises(ConfigurationError, match=r"PlainWithMore\.more is a list that another"):
        ReplicatedMachine({"one": plain, "two": other})


def test_nobody_can_call_restore_from_outside() -> None:
    """By it any client could replace the whole state."""
    log = Log()
    machine = written(log)

    for number, method, arguments in ((3, "restore", (5,)), (4, "snapshot", ())):
        answer = machine.apply(log.call(ALICE, number, method, *arguments, object_name="Counter"))

        assert "NoSuchObject" == failure_of(answer).type_name


def test_the_order_in_which_objects_are_named_makes_no_difference() -> None:
    plain, more = Plain(), PlainWithMore()

    one, other = (
        ReplicatedMachine(objects)
        for objects in ({"a": plain, "b": more}, {"b": PlainWithMore(), "a": Plain()})
    )

    assert one.digest() == other.digest()


def test_many_sessions_go_in_sections_of_a_bounded_size() -> None:
    log = Log()
    machine = new_machine()
    for number in range(1000):
        session = number.to_bytes(16, "big")
        machine.apply(log.opening(session))
        machine.apply(log.call(session, 1, "write", "x" * 500))
        if number == 500:
            machine.apply(log.call(session, 2, "texts"))

    sections = list(read_sections(machine.snapshot()))
    batches = [body for kind, body in sections if kind == SectionKind.SESSIONS]

    assert 1000 == sum(len(msgspec.msgpack.decode(body)) for body in batches)
    assert 2 == len(batches)
    assert SESSIONS_BYTES < max(map(len, batches)) < 3 * SESSIONS_BYTES
    assert machine.digest() == restored(machine.snapshot()).digest()


def sections_of(machine: ReplicatedMachine) -> list[tuple[SectionKind, bytes]]:
    return list(read_sections(machine.snapshot()))


MACHINE, SESSIONS, BOOK, LINES, AUTHORS, LAST, COUNTER, COUNT = range(8)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ((), "sections are missing"),
        ((SESSIONS, MACHINE), "not the first section"),
        ((MACHINE, MACHINE), "not the first section, and the only"),
        ((MACHINE, LINES), "kind PIECE where none can be"),
        ((MACHINE, BOOK), "sections are missing at the end"),
        ((MACHINE, BOOK, LINES, COUNTER), "kind OBJECT where none can be"),
        ((MACHINE, BOOK, LINES, AUTHORS, LAST, LAST), "kind PIECE where none can be"),
        ((MACHINE, BOOK, LINES, AUTHORS, LAST, BOOK), "'Book' is in the snapshot twice"),
        ((MACHINE, COUNTER, COUNT, SESSIONS), "kind SESSIONS where none can be"),
    ],
)
def test_sections_that_follow_no_order_of_ours_are_refused(
    order: tuple[int, ...], told: str
) -> None:
    """Their checksums are right, so another program wrote them, or a fault of this one."""
    sections = sections_of(written(Log()))
    assert COUNT + 1 == len(sections)

    with pytest.raises(DamagedSnapshot, match=told):
        new_machine().prepare(write_sections(sections[place] for place in order))


NEGATIVE = {"applied_index": -1, "wall_now": 1.0}


@pytest.mark.parametrize("place", [MACHINE, SESSIONS, BOOK])
@pytest.mark.parametrize("body", [b"", b"\xc1", msgspec.msgpack.encode(NEGATIVE)])
def test_a_body_that_is_none_of_ours_is_refused(place: int, body: bytes) -> None:
    sections = sections_of(written(Log()))
    sections[place] = (sections[place][0], body)

    with pytest.raises(DamagedSnapshot, match="whole, and no snapshot's"):
        new_machine().prepare(write_sections(sections))


def test_a_piece_of_another_class_s_type_is_named() -> None:
    sections = sections_of(written(Log()))
    sections[COUNT] = (SectionKind.PIECE, msgspec.msgpack.encode(("x", {})))

    with pytest.raises(ConfigurationError, match=r"Counter\.snapshot\(\) does not fit the class"):
        new_machine().prepare(write_sections(sections))


def test_no_flipped_byte_and_no_cut_is_missed() -> None:
    whole = b"".join(written(Log()).snapshot())
    machine = new_machine()
    before = machine.digest()

    for position in range(len(whole)):
        damaged = whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :]
        for data in (damaged, whole[:position]):
            with pytest.raises(DamagedSnapshot):
                machine.prepare([data])

    assert before == machine.digest()
