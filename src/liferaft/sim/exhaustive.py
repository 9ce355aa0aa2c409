"""Every order of events of the pure core, breadth first, on a small scale.

A state is three cores, what their disks hold and are writing, the messages under way, and what was
committed and led so far. From each state every event that may come next is tried: a message
arrives, and is then gone or, within a bound, may arrive again (that it never arrives needs no event
of its own); a disk write is done; a node's patience with its leader ends, with a campaign or
without one; a leader's heartbeat is due; check-quorum ends its reign; a client proposes; a node
crashes, its unfinished writes lost or the first of them kept, and starts again.

Time itself is left out: clocks stand still, and what they decide is an event that may come at any
moment.

States that differ by the names of the nodes alone are one. A state is known by 16 bytes of BLAKE2b:
two of a hundred million states fall together with a probability below 10^-22.

With several processes each has the states whose digests are its own, and gives those that it comes
upon and are another's to that one, between two levels: what is found does not depend on how many
there are.

`python -m liferaft.sim.exhaustive --minutes 10 --jobs 2` explores as far as it comes, and tells how
far.
"""

import argparse
import gc
import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import msgspec

from liferaft.errors import InvariantViolated
from liferaft.sim.exhaustive_world import Bounds, Space, World

PARCEL_STATES: Final = 5_000
"""How many states travel to another process in one piece."""
LOOK_INTERVAL: Final = 1_000
"""How many states are expanded between two looks at the clock."""


class Exploration(msgspec.Struct, frozen=True):
    """How far it came. `depth` is the number of events of the longest history."""

    states: int
    transitions: int
    depth: int
    is_complete: bool


def explore(
    bounds: Bounds,
    *,
    seconds: float | None = None,
    levels: int | None = None,
    jobs: int = 1,
    on_level: Callable[[Exploration], None] = lambda _: None,
) -> Exploration:
    """Visit every state within the bounds; raises `InvariantViolated` when one breaks a promise.

    Stops after `seconds`, or behind so many events, None for never; `on_level` is told after each
    further event. `jobs` is how many processes share the work.
    """
    end = None if seconds is None else time.monotonic() + seconds
    team: _Alone | _Team = _Alone(bounds) if jobs == 1 else _Team(bounds, jobs)
    try:
        so_far = Exploration(1, 0, 0, is_complete=False)
        while so_far.depth != levels:
            transitions, is_whole = team.expand(end)
            states, level = team.turn_over()
            so_far = Exploration(
                states,
                so_far.transitions + transitions,
                so_far.depth + bool(is_whole and level),
                is_complete=is_whole and not level,
            )
            if not is_whole:
                break
            on_level(so_far)
            if not level:
                break
        return so_far
    finally:
        team.close()


class _Share:
    """The states that are one process's own, and its part of the level that is expanded now."""

    def __init__(self, bounds: Bounds, number: int, jobs: int) -> None:
        self._space = Space(bounds)
        self._number = number
        self._jobs = jobs
        self._seen: set[bytes] = set()
        self._level: list[World] = []
        self._following: list[World] = []
        # Those that were given away in this level, and what the others know of our servers, or we
        # of theirs.
        self._given: set[bytes] = set()
        self._told: list[set[int]] = [set() for _ in range(jobs)]
        self._explained: list[dict[int, Any]] = [{} for _ in range(jobs)]
        first = self._space.first
        digest = self._space.digest(first)
        if self._owner(digest) == number:
            self._seen.add(digest)
            self._level.append(first)

    def expand(self, end: float | None, give: Callable[[int, bytes], None]) -> tuple[int, bool]:
        """Try every event of every state of the level, and give away what is another's.

        Returns how many events that were, and whether there was time for all of them.
        """
        space, seen, following, given = self._space, self._seen, self._following, self._given
        parcels: list[list[Any]] = [[] for _ in range(self._jobs)]
        transitions = 0
        is_whole = True
        for count, world in enumerate(self._level):
            for after in space.successors(world):
                transitions += 1
                digest = space.digest(after)
                owner = self._owner(digest)
                if owner == self._number:
                    if digest not in seen:
                        seen.add(digest)
                        following.append(after)
                elif digest not in given:
                    given.add(digest)
                    parcel = parcels[owner]
                    parcel.append((digest, space.packed(after, self._told[owner])))
                    if len(parcel) >= PARCEL_STATES:
                        give(owner, pickle.dumps(parcel, pickle.HIGHEST_PROTOCOL))
                        parcel.clear()
            if end is not None and count % LOOK_INTERVAL == 0 and time.monotonic() > end:
                is_whole = False
                break
        for owner, parcel in enumerate(parcels):
            if parcel:
                give(owner, pickle.dumps(parcel, pickle.HIGHEST_PROTOCOL))
        return transitions, is_whole

    def take(self, giver: int, parcel: bytes) -> None:
        """Take states of ours that another process came upon."""
        explained = self._explained[giver]
        for digest, packed in pickle.loads(parcel):  # noqa: S301 - from a process of this search
            world = self._space.unpacked(packed, explained)
            if digest not in self._seen:
                self._seen.add(digest)
                self._following.append(world)

    def turn_over(self) -> tuple[int, int]:
        """Go on to the next level; return how many states were seen, and how many it has."""
        self._level, self._following = self._following, []
        self._given.clear()
        return len(self._seen), len(self._level)

    def _owner(self, digest: bytes) -> int:
        return digest[0] % self._jobs


class _Alone:
    """One process, this one."""

    def __init__(self, bounds: Bounds) -> None:
        self._share = _Share(bounds, 0, 1)
        # What is made here lives to the end: looking for garbage among it would be most of it all.
        self._was_collecting = gc.isenabled()
        gc.disable()

    def expand(self, end: float | None) -> tuple[int, bool]:
        """See `_Share.expand`."""
        return self._share.expand(end, _give_nothing)

    def turn_over(self) -> tuple[int, int]:
        """See `_Share.turn_over`."""
        return self._share.turn_over()

    def close(self) -> None:
        """Let garbage be collected again."""
        if self._was_collecting:
            gc.enable()


class _Team:
    """Several processes, led by this one, which passes on what they give each other."""

    def __init__(self, bounds: Bounds, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, bounds, number, jobs))
            process.daemon = True
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def expand(self, end: float | None) -> tuple[int, bool]:
        """Have all expand their parts of the level, then pass on what each gave the others."""
        left = None if end is None else end - time.monotonic()
        for pipe in self._pipes:
            pipe.send(("expand", left))
        parcels: list[list[tuple[int, bytes]]] = [[] for _ in self._pipes]
        results: list[tuple[int, bool]] = []
        givers: dict[Any, int] = {pipe: giver for giver, pipe in enumerate(self._pipes)}
        while len(results) < len(self._pipes):
            for ready in wait(list(givers)):
                kind, what = _received(ready)
                if kind == "expanded":
                    results.append(what)
                else:
                    owner, parcel = what
                    parcels[owner].append((givers[ready], parcel))
        for pipe, of_one in zip(self._pipes, parcels, strict=True):
            for giver, parcel in of_one:
                pipe.send(("take", (giver, parcel)))
        return sum(count for count, _ in results), all(is_whole for _, is_whole in results)

    def turn_over(self) -> tuple[int, int]:
        """Have all go on to the next level."""
        for pipe in self._pipes:
            pipe.send(("turn over", None))
        found = [_received(pipe)[1] for pipe in self._pipes]
        return sum(states for states, _ in found), sum(level for _, level in found)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.join()
            pipe.close()


def _received(pipe: Any) -> tuple[str, Any]:
    kind, what = pipe.recv()
    if kind == "violated":
        raise InvariantViolated(what)
    return kind, what


def _work(pipe: Connection, bounds: Bounds, number: int, jobs: int) -> None:
    """Do one process's share, as it is told."""
    gc.disable()
    share = _Share(bounds, number, jobs)

    def give(owner: int, parcel: bytes) -> None:
        pipe.send(("give", (owner, parcel)))

    try:
        while True:
            order, what = pipe.recv()
            if order == "expand":
                end = None if what is None else time.monotonic() + what
                result = share.expand(
                    end, lambda owner, parcel: pipe.send(("give", (owner, parcel)))
                )
                pipe.send(("expanded", result))
            elif order == "take":
                share.take(*what)
            else:
                pipe.send(("turned over", share.turn_over()))
    except InvariantViolated as violation:
        pipe.send(("violated", str(violation)))
    except (EOFError, KeyboardInterrupt):
        return


def _give_nothing(owner: int, parcel: bytes) -> None:
    raise AssertionError(f"there is nobody to give {len(parcel)} bytes to: {owner}")


def main(arguments: Sequence[str]) -> int:
    """Explore for so many minutes, and tell how far it came."""
    parser = argparse.ArgumentParser(prog="python -m liferaft.sim.exhaustive")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    for bound in msgspec.structs.fields(Bounds):
        parser.add_argument(f"--{bound.name.replace('_', '-')}", type=int, default=bound.default)
    given = vars(parser.parse_args(arguments))
    minutes, jobs = given.pop("minutes"), given.pop("jobs")

    def tell(so_far: Exploration) -> None:
        print(msgspec.json.encode(so_far).decode(), flush=True)  # noqa: T201 - a command prints

    tell(explore(Bounds(**given), seconds=minutes * 60, jobs=jobs, on_level=tell))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
