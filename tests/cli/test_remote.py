"""A host's objects described, called and tried out from the shell, without their interface."""

import dataclasses
import io
import json
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

import liferaft
from liferaft.cli import main, shell
from liferaft.cli.exits import ExitStatus
from liferaft.cli.remote import Host
from liferaft.cli.shell import Session, completions


@dataclasses.dataclass
class Item:
    id: int
    text: str
    priority: int = 1


class NoItem(Exception):
    id: int


class Todo(Protocol):
    """A list of things to do."""

    def add(self, text: str, priority: int = 1) -> Item:
        """Add one, last."""

    def items(self) -> list[Item]: ...
    def clear(self) -> None: ...
    def upwards(self, start: int) -> Iterator[int]: ...
    def total(self, numbers: Iterator[int], *, factor: int = 1) -> int: ...
    @liferaft.raises(NoItem)
    def get(self, id: int) -> Item: ...  # noqa: A002
    def fail(self) -> None: ...


class TodoList:
    def __init__(self) -> None:
        self._items: list[Item] = []

    def add(self, text: str, priority: int = 1) -> Item:
        self._items.append(Item(len(self._items) + 1, text, priority))
        return self._items[-1]

    def items(self) -> list[Item]:
        return self._items

    def clear(self) -> None:
        self._items.clear()

    def upwards(self, start: int) -> Iterator[int]:
        yield from range(start, start + 3)

    def total(self, numbers: Iterator[int], *, factor: int = 1) -> int:
        return factor * sum(numbers)

    def get(self, id: int) -> Item:  # noqa: A002
        error = NoItem(f"no item {id}")
        error.id = id
        raise error

    def fail(self) -> None:
        raise ValueError("a fault")


@pytest.fixture
def address() -> Iterator[str]:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0", name="todo") as host:
        yield host.address


@pytest.fixture
def two_objects() -> Iterator[str]:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0", name="todo") as host:
        host.host(TodoList(), Todo, name="other")
        yield host.address


def say(*arguments: str) -> int:
    return main.run(arguments)


def test_describe_prints_source_that_can_be_read(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == say("describe", address)

    shown = capsys.readouterr().out
    compile(shown, "todo.py", "exec")
    assert '    """A list of things to do."""' in shown
    assert '        """Add one, last."""' in shown
    assert "    def add(self, text: str, priority: int = 1) -> Item:" in shown
    assert "    @liferaft.raises(NoItem)" in shown


def test_describe_prints_all_objects_or_the_one_that_is_named(
    two_objects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == say("describe", two_objects)
    both = capsys.readouterr().out
    assert 0 == say("describe", two_objects, "Other")
    one = capsys.readouterr().out

    assert both.index("# The object 'todo'.") < both.index("# The object 'other'.")
    assert 1 == one.count("class Todo(Protocol)")


def test_describe_gives_json_for_programs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == say("describe", address, "--json")

    described = json.loads(capsys.readouterr().out)
    assert ["todo", "Todo"] == [described["object"], described["interface"]]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("todo.add", '"milk"', "--priority", "2"), '{"id":1,"text":"milk","priority":2}'),
        (("Todo.add", "oat milk", "--priority=3"), '{"id":1,"text":"oat milk","priority":3}'),
        (("add", "--text", "[x]"), '{"id":1,"text":"[x]","priority":1}'),
        (("todo.add", "milk", "-5"), '{"id":1,"text":"milk","priority":-5}'),
        (("todo.items",), "[]"),
        (("todo.clear",), "null"),
        (("todo.upwards", "7"), "7\n8\n9"),
    ],
)
def test_call_prints_the_result_as_json(
    arguments: tuple[str, ...], shown: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == say("call", address, *arguments)
    assert f"{shown}\n" == capsys.readouterr().out


def test_call_streams_lines_of_its_input(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1\n2\n3\n")))

    assert 0 == say("call", address, "todo.total", "-", "--factor", "2")
    assert "12\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("todo.ad", "x"), ExitStatus.USAGE, "did you mean add?"),
        (("todo.add",), ExitStatus.USAGE, "add() missing a required argument: 'text'"),
        (("todo.add", "7"), ExitStatus.USAGE, "add, argument 1: Expected `str`, got `int`"),
        (("todo.add", "x", "high"), ExitStatus.USAGE, "'high' is no JSON"),
        (("todo.add", "x", "--colour", "1"), ExitStatus.USAGE, "add has no parameter 'colour'"),
        (("todo.add", "x", "1", "2"), ExitStatus.USAGE, "takes 2 arguments by their place"),
        (("todo.add", "--text"), ExitStatus.USAGE, "--text needs a value"),
        (("todo.add", "--text", "a", "--text", "b"), ExitStatus.USAGE, "given twice"),
        (("todo.total", "[1]"), ExitStatus.USAGE, "is a stream: give -"),
        (("nobody.add", "x"), ExitStatus.REFUSED, "there is no object 'nobody'"),
        (("todo.get", "4"), ExitStatus.NEGATIVE, "NoItem: no item 4"),
        (("todo.fail",), ExitStatus.NEGATIVE, "ValueError: a fault"),
    ],
)
def test_call_says_what_is_wrong_in_one_line(
    arguments: tuple[str, ...],
    status: ExitStatus,
    said: str,
    address: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status == say("call", address, *arguments)
    told = capsys.readouterr()
    assert ("", 1) == (told.out, told.err.count("\n"))
    assert said in told.err


def test_nobody_at_the_address_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    status = say("call", "unix:/nowhere/at/all", "todo.items", "--timeout", "0.01")

    assert ExitStatus.UNREACHABLE == status
    told = capsys.readouterr().err
    assert "nobody answered at unix:/nowhere/at/all" in told
    assert 1 == told.count("/nowhere/at/all")


def test_shell_carries_out_what_a_pipe_brings(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        '# a comment\n\ntodo.add("milk", priority=2)\nupwards(1)\ntotal([1, 2])\nclear()\nexit\nx'
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))

    assert 0 == say("shell", address)
    assert "Item(id=1, text='milk', priority=2)\n1\n2\n3\n3\n" == capsys.readouterr().out


def test_a_pipe_ends_at_the_first_line_that_fails(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("todo.get(3)\ntodo.items()\n"))

    assert ExitStatus.NEGATIVE == say("shell", address)
    assert "! NoItem: no item 3\n" == capsys.readouterr().out


async def session_at(address: str, shown: list[str]) -> tuple[Host, Session, dict[str, Any]]:
    host = Host(address)
    objects = {name: await host.object(name) for name in await host.names()}
    return host, Session(objects, timeout=10, show=shown.append), objects


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('__import__("os").system("true")', "say which object's method"),
        ('todo.add(open("x"))', "open('x') is no literal"),
        ("todo.add(text)", "text is no literal"),
        ("todo.add(**{})", "** is not taken here"),
        ("todo.add", "that is no call"),
        ("todo.add('x'", "that is no call"),
        ("todo.add(3)", "Expected `str`, got `int`"),
        ("todo.add('x', 'y')", "Expected `int`, got `str`"),
        ("todo.nothing()", "todo has no method 'nothing'"),
        ("nobody.add()", "there is no object 'nobody'"),
        ("todo.total(3)", "give the items of a stream as a list"),
        ("todo.fail()", "ValueError: a fault"),
        ("help nobody", "there is no object 'nobody'"),
    ],
)
async def test_a_patient_session_tells_what_is_wrong_and_goes_on(
    line: str, said: str, two_objects: str
) -> None:
    shown: list[str] = []
    host, session, _ = await session_at(two_objects, shown)
    lines = iter([line, "todo.items()"])

    async def next_line() -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    async with host:
        assert not await session.run(next_line, is_patient=True)
    assert said in shown[0]
    assert "[]" == shown[1]


async def test_help_tells_of_objects_and_methods(two_objects: str) -> None:
    shown: list[str] = []
    host, session, _ = await session_at(two_objects, shown)
    async with host:
        for topic in ("help", "help todo", "help todo.add"):
            await session.execute(topic)

    assert "other: add, items, clear, upwards, total, get, fail" in shown[0]
    assert "A list of things to do." in shown[1]
    assert "Add one, last." in shown[2]


async def test_completion_knows_objects_methods_and_parameters(two_objects: str) -> None:
    expected: dict[str, list[str]] = {
        "t": ["todo."],
        "he": ["help"],
        "help o": ["other."],
        "todo.a": ["add("],
        "todo.add(": ["text=", "priority="],
        "todo.add('x', pr": ["priority="],
        "no.": [],
        "f(": [],
    }
    host, _, objects = await session_at(two_objects, [])
    async with host:
        given = {
            line: [text for _, text, _ in completions(line, objects)]
            for line in (
                "t",
                "he",
                "help o",
                "todo.a",
                "todo.add(",
                "todo.add('x', pr",
                "no.",
                "f(",
            )
        }

    assert expected == given


async def test_the_prompt_reads_lines_and_completes_them(two_objects: str) -> None:
    host, _, objects = await session_at(two_objects, [])
    async with host:
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            keys.send_text("todo.clear()\r")
            prompt = shell.prompt(objects)
            line = await prompt.prompt_async()
        assert prompt.completer is not None
        given = prompt.completer.get_completions(Document("todo.cl"), CompleteEvent())

    assert "todo.clear()" == line
    assert [("clear(", -2)] == [(each.text, each.start_position) for each in given]
