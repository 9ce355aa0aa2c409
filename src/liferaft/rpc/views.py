"""Views: further names of an object, under which its host reads it in another way.

`Todo@stale` is `Todo` as a host answers for it that asks nobody. Which views there are is up to the
host (docs/reads.md); a caller binds to one as to any object, so the wire knows nothing of them. A
host does not list them: they are asked for by name. Objects of their own have no "@" in theirs
where there are views.
"""

import math
from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal, get_args

import msgspec

from liferaft.errors import ConfigurationError

VIEW_MARK: Final = "@"
"""What stands between an object's name and the view's."""

BOUND_KEY: Final = "liferaft.within"
"""Under it the metadata of a call have the bound of its answer's age, in seconds."""


class View(Enum):
    """The views of a replicated object, by the end of their names; all but `LEASE` only read."""

    LEASE = "@lease"
    FOLLOWER = "@follower"
    WITHIN = "@within"
    STALE = "@stale"


class Within(msgspec.Struct, frozen=True):
    """Reads that lack at most what was acknowledged in the last so many seconds.

    Raises `ConfigurationError` for what is no positive number of seconds.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ConfigurationError(
                f"reads within {self.seconds} s: give a positive number of seconds, such as 0.5"
            )


ReadKind = Literal["linearizable", "lease", "follower", "stale"]
Reads = ReadKind | Within
"""How a stub reads a replicated object; docs/reads.md tells what each costs and promises."""

_SUFFIXES: Final[Mapping[str, str]] = {
    "linearizable": "",
    "lease": View.LEASE.value,
    "follower": View.FOLLOWER.value,
    "stale": View.STALE.value,
}


def view_suffix(reads: Reads) -> str:
    """Return what the name of an object ends with to be read so.

    Raises `ConfigurationError` for what is no kind of reads.
    """
    if isinstance(reads, Within):
        return View.WITHIN.value
    if reads not in _SUFFIXES:
        known = ", ".join(map(repr, get_args(ReadKind)))
        raise ConfigurationError(f"reads is {reads!r}, but there are {known} and Within(seconds)")
    return _SUFFIXES[reads]


def view_metadata(reads: Reads) -> dict[str, str] | None:
    """Return what goes with every call of a stub, to be read so."""
    return {BOUND_KEY: repr(reads.seconds)} if isinstance(reads, Within) else None


def parse_reads(text: str) -> Reads:
    """Return the kind of reads that a user writes: its name, or "within:0.5".

    Raises `ConfigurationError` when it is none.
    """
    kind, colon, seconds = text.partition(":")
    if kind == "within" and colon:
        try:
            return Within(float(seconds))
        except ValueError as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"{text!r} has no number of seconds: within:0.5") from error
    for known in get_args(ReadKind):
        if text == known:
            found: ReadKind = known
            return found
    known_names = ", ".join(get_args(ReadKind))
    raise ConfigurationError(f"reads are {text!r}, but there are {known_names} and within:SECONDS")


def bound_of(metadata: Mapping[str, str] | None) -> float:
    """Return how old the answer to a call may be, in seconds.

    A bound that is missing or makes no sense is 0: whoever gave none gets nothing that is old.
    """
    try:
        seconds = float((metadata or {})[BOUND_KEY])
    except (KeyError, ValueError):
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
