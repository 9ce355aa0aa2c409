"""A file is read whatever its format, and whatever is wrong with it is told with its line."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from liferaft.check.history import HistoryError, Operation
from liferaft.check.reading import LINE_BYTES_MAX, read_history

HISTORIES = Path(__file__).parent / "histories"

JSON = '{"process": 1, "type": "invoke", "f": "read"}'
EDN = "{:process 1, :type :invoke, :f :read}"
JEPSEN = "INFO  jepsen.util - 1\t:invoke\t:read\tnil"


def written(directory: Path, content: str | bytes) -> Path:
    path = directory / "history"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines() -> None:
    """Line 3 is before line 1 by its clock, and after it by its place, which counts."""
    operations = read_history(HISTORIES / "kv-ok.jsonl")

    assert [
        Operation(1, "put", "v", "v", 1, 3, "k", 1),
        Operation("two", "get", None, "v", 2, 4, "k", 2),
        Operation(1, "put", "z", None, 7, None, "k", 7),
        Operation("two", "get", None, "z", 9, 10, "k", 9),
    ] == operations


def test_edn() -> None:
    operations = read_history(str(HISTORIES / "kv-ok.edn"))

    assert [
        Operation(0, "put", "x", "x", 2, 5, "a", 2),
        Operation(1, "get", None, "", 3, 4, "a", 3),
        Operation(1, "append", "y", "y", 6, 9, "a", 6),
        Operation(0, "get", None, None, 7, 8, "b", 7),
        Operation(0, "get", None, "xy", 10, 11, "a", 10),
    ] == operations


def test_a_jepsen_log() -> None:
    operations = read_history(HISTORIES / "register-ok.log")

    assert [
        (0, "read", None, None, 2, 3),
        (1, "write", 1, 1, 4, 6),
        (2, "cas", [1, 2], [1, 2], 5, 8),
        (3, "write", 3, None, 9, None),
        (1, "read", None, 2, 17, 18),
        (2, "read", None, 3, 19, 20),
    ] == [
        (each.process, each.function, each.argument, each.result, each.line, each.returned_at)
        for each in operations
    ]


@pytest.mark.parametrize("line", [JSON, EDN, JEPSEN, '{"process" 1 "type" :invoke "f" :read}'])
@pytest.mark.parametrize("around", ["{}", "{}\n", "\n\n{}\r\n\n", "\ufeff{}\n"])
def test_ends_of_lines_and_blank_ones_do_not_matter(line: str, around: str, tmp_path: Path) -> None:
    (operation,) = read_history(written(tmp_path, around.replace("{}", line)))

    assert (1, "read") == (operation.process, operation.function)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_has_no_operations(content: str, tmp_path: Path) -> None:
    assert [] == read_history(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("hello\n", 1, "no history: each line is expected to be a JSON object"),
        ("; hello\n; goodbye\n", 1, "no history"),
        (b"\x00\x01\xff", 1, "no history"),
        (f"{JSON}\n\n{{\n", 3, "a JSON object as"),
        (f"{JSON}\n{EDN}\n", 2, "a JSON object as"),
        (f"{EDN}\n{JSON}\n", 2, "is expected at column"),
        (f"INFO starting\n{JEPSEN}\n{JEPSEN}\n", 3, "has no answer yet"),
        ("{:process 1, :type :ok, :f :read}", 1, "which it has not invoked"),
        ("{", 1, "a JSON object as"),
    ],
)
def test_an_error_names_file_and_line_and_what_was_expected(
    content: str | bytes, line: int, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, content)

    with pytest.raises(HistoryError, match=said) as caught:
        read_history(path)

    assert (str(path), line) == (caught.value.file, caught.value.line)
    assert str(caught.value).startswith(f"{path}, line {line}: ")


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path, JSON + "\n" + " " * (LINE_BYTES_MAX + 1))

    with pytest.raises(HistoryError, match="line 2: the line is too long"):
        read_history(path)


@pytest.mark.parametrize("path", ["missing", "."])
def test_a_file_that_cannot_be_opened_is_the_systems_error(path: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        read_history(tmp_path / path)


PIECES = [
    *(piece.encode() for piece in (JSON, EDN, JEPSEN, ":ok", ":info", '"type"', "nil", "\\ud800")),
    *(b"\n", b" ", b"{", b"}", b"[", b"]", b'"', b"\\", b"#", b":", b"1", b"e9", b"\xff", b"-"),
]


@settings(max_examples=50)
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=14).map(b"".join)
)
@example(b"{:a " * 5000)
@example(b'{"a":' * 5000)
@example(JEPSEN.encode() + b"[" * 5000)
def test_whatever_bytes_a_file_has_only_a_history_error_comes_of_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = written(tmp_path_factory.getbasetemp(), content)

    caught: list[HistoryError] = []
    operations: list[Operation] = []
    try:
        operations = read_history(path)
    except HistoryError as error:
        caught.append(error)

    assert [] == [error for error in caught if error.file != str(path) or error.line is None]
    assert len(operations) <= content.count(b"nvoke")
