"""One exit status for each kind of error, and one line for each error."""

import inspect

import pytest

from liferaft import errors
from liferaft.cli.exits import STATUS_BY_ERROR, ExitStatus, sentence_of, status_of
from liferaft.errors import LiferaftError, RemoteError

ALL_ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LiferaftError)
]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.AddressError("in use"), 2),
        (errors.ConfigurationError("wrong"), 2),
        (errors.DataDirectoryError("of another node"), 2),
        (errors.InterfaceMismatch("differs"), 2),
        (errors.Unreachable("nobody"), 3),
        (errors.NoLeader("none"), 3),
        (errors.DeadlineExceeded("late"), 4),
        (errors.SessionExpired("gone"), 4),
        (errors.Overloaded("full"), 5),
        (errors.NoSuchObject("what"), 5),
        (errors.DamagedLog("bits"), 6),
        (errors.DiskFailed("sync"), 6),
        (errors.InvariantViolated("two leaders"), 6),
        (errors.StubClosed("closed"), 1),
    ],
)
def test_an_error_ends_with_the_status_that_the_manual_says(
    error: LiferaftError, expected: int
) -> None:
    assert expected == status_of(error)


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_of_the_tree_has_a_status(kind: type[LiferaftError]) -> None:
    assert status_of(kind.__new__(kind)) in set(ExitStatus) - {ExitStatus.OK}


def test_no_row_of_the_table_is_hidden_by_an_earlier_one() -> None:
    kinds = [kind for kind, _ in STATUS_BY_ERROR]
    hidden = [
        kind for n, kind in enumerate(kinds) if any(issubclass(kind, above) for above in kinds[:n])
    ]

    assert [] == hidden


def test_a_remote_traceback_stays_out_of_the_sentence() -> None:
    error = RemoteError("ValueError", "no such\nthing", "Traceback\n  File ...")

    assert "ValueError: no such thing" == sentence_of(error)


def test_an_error_of_the_system_names_the_file() -> None:
    error = PermissionError(13, "Permission denied", "/root/data")

    assert "Permission denied: /root/data" == sentence_of(error)


def test_an_error_without_words_is_named() -> None:
    assert "NoLeader" == sentence_of(errors.NoLeader())
