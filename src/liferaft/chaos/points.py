"""Which points of a script a process is killed at: a pure function of the calls that it makes."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from liferaft.errors import ConfigurationError

CALLS: Final[dict[str, tuple[str, ...]]] = {
    "write": ("pwrite64", "write", "pwritev"),
    "fdatasync": ("fdatasync", "fsync"),
    "rename": ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"),
    "truncate": ("ftruncate", "fallocate"),
    "open": ("openat",),
}
"""The system calls that change what is on a disk, by the names under which they are swept."""

ALL: Final = "all"

AGAIN_EVERY: Final = 4
"""Every so many points, the process that recovers is killed, too."""


class Point(msgspec.Struct, frozen=True):
    """A kill as the process is about to make its `number`-th `call`, counted from 1.

    Where `again` is not 0, the process that recovers is killed as well, before its `again`-th.
    """

    call: str
    number: int
    again: int = 0

    def __str__(self) -> str:
        """Return the point as it is told."""
        again = f", again at {self.call} {self.again} of the recovery" if self.again else ""
        return f"{self.call} {self.number}{again}"


def calls_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the system calls for names of `CALLS` or "all"; raises `ConfigurationError`."""
    for name in names:
        if name != ALL and name not in CALLS:
            raise ConfigurationError(
                f"there is no sweep of {name!r}: give {', '.join((*CALLS, ALL))}"
            )
    chosen = CALLS if ALL in names else {name: CALLS[name] for name in names}
    return tuple(call for calls in chosen.values() for call in calls)


def plan(
    counts: Mapping[str, int],
    recovery_counts: Mapping[str, int],
    *,
    points_max: int,
    offset: int = 0,
) -> tuple[Point, ...]:
    """Return the points of a script, all of them or `points_max` spread evenly.

    Where not all are taken, another `offset` takes others. `counts` is how many of each call the
    script makes, `recovery_counts` how many a recovery.
    """
    every = [(call, number) for call in sorted(counts) for number in range(1, counts[call] + 1)]
    count = min(len(every), points_max)
    places = (position * len(every) // count + offset for position in range(count))
    chosen = [every[place % len(every)] for place in places]
    return tuple(
        Point(call, number, _again(position, recovery_counts.get(call, 0)))
        for position, (call, number) in enumerate(chosen, start=1)
    )


def _again(position: int, recovery_count: int) -> int:
    if recovery_count == 0 or position % AGAIN_EVERY:
        return 0
    return 1 + (position // AGAIN_EVERY) % recovery_count
