"""What the exit statuses of `liferaft` mean, and which error ends with which: the one place.

Every error that can be expected becomes one line on stderr; a traceback means a fault of ours.
"""

from enum import IntEnum
from typing import Final

from liferaft.errors import (
    AddressError,
    ConfigurationError,
    ConnectionLost,
    DataDirectoryError,
    DeadlineExceeded,
    InterfaceError,
    InterfaceMismatch,
    InvalidArgument,
    InvariantViolated,
    LiferaftError,
    NoLeader,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    RemoteError,
    ReplicaDiverged,
    StorageError,
)


class ExitStatus(IntEnum):
    """How a command ended."""

    OK = 0
    NEGATIVE = 1
    """The command worked, and its answer is no: a verdict that does not hold, for example."""
    USAGE = 2
    """The command cannot be carried out as it was given: nothing was done."""
    UNREACHABLE = 3
    """Nobody answered, or no node leads."""
    UNDECIDED = 3
    """Time or memory were not enough for a verdict: the same status, of another verb."""
    UNKNOWN = 4
    """Time was up, and whether the call was executed is not known."""
    REFUSED = 5
    DAMAGED = 6
    """The data on disk is damaged or not that of the other nodes, or the disk failed."""
    INTERRUPTED = 130
    """Ctrl-C, as shells report it."""


STATUS_BY_ERROR: Final[tuple[tuple[type[LiferaftError], ExitStatus], ...]] = (
    (DataDirectoryError, ExitStatus.USAGE),
    (StorageError, ExitStatus.DAMAGED),
    (InvariantViolated, ExitStatus.DAMAGED),
    (ReplicaDiverged, ExitStatus.DAMAGED),
    (AddressError, ExitStatus.USAGE),
    (ConfigurationError, ExitStatus.USAGE),
    (InterfaceError, ExitStatus.USAGE),
    (InterfaceMismatch, ExitStatus.USAGE),
    (InvalidArgument, ExitStatus.USAGE),
    (NoLeader, ExitStatus.UNREACHABLE),
    (ConnectionLost, ExitStatus.UNREACHABLE),
    (ProtocolError, ExitStatus.UNREACHABLE),
    (DeadlineExceeded, ExitStatus.UNKNOWN),
    (OutcomeUnknown, ExitStatus.UNKNOWN),
    (Refused, ExitStatus.REFUSED),
    (LiferaftError, ExitStatus.NEGATIVE),
)
"""The first row whose class fits counts, so a class stands above the ones it derives from."""


def status_of(error: LiferaftError) -> ExitStatus:
    """Return the exit status with which a command ends that raised `error`."""
    return next(status for kind, status in STATUS_BY_ERROR if isinstance(error, kind))


def sentence_of(error: Exception) -> str:
    """Return what is said about an error, on one line.

    A remote traceback stays out of it: it is for logs, not for whoever types a command.
    """
    if isinstance(error, RemoteError):
        return one_line(f"{error.remote_type}: {error.remote_message}")
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return one_line(f"{error.strerror}{where}")
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """Return the text with every run of spaces and line ends as one space."""
    return " ".join(text.split())
