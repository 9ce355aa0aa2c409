"""`liferaft bench raft`, `rpc`, `failover`, `overload` and `groups`: figures of one run."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from liferaft.bench.measure import Measurement
from liferaft.cli.bench_groups import print_groups
from liferaft.cli.bench_overload import print_overload
from liferaft.cli.exits import ExitStatus
from liferaft.ops.hosting import new_event_loop

Positive = Annotated[int, Parameter(validator=Number(gte=1))]


def bench(
    what: Literal["raft", "rpc", "failover", "overload", "groups"],
    /,
    *,
    in_flight: tuple[Positive, ...] = (),
    seconds: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    size_bytes: tuple[Positive, ...] = (),
    any_core: bool = False,
    rounds: Positive | None = None,
    profile: Literal["default", "lan", "wan"] = "default",
    groups: Positive = 1000,
    json: bool = False,
    write: Path | None = None,
) -> int:
    """Measure writes to a cluster of three processes, or remote calls between two.

    Figures of one run on one machine compare with each other, and with nothing else.

    Parameters
    ----------
    what
        "raft": durable writes and every kind of reads of a key-value dictionary, beside etcd where
        Debian's etcd-server and nghttp2-client are installed. "rpc": typed calls, beside a bare
        echo of msgspec's messages, Pyro5, RPyC and grpcio where they are installed. "failover": the
        time without writes after the leader's process was killed. "overload": what is still done of
        twice the load that can be done; the exit status is 1 when that is less than 80 %. "groups":
        the share of a core that many Raft groups on the same three nodes take while nobody uses
        them.
    in_flight
        How many calls are under way at a time; may be given again for more. 64 (raft, where one at
        a time is measured too), or 1, 16, 64 and 256 (rpc) otherwise.
    seconds
        How long each figure is measured; 5 (raft, overload), 2 (rpc) or 20 (groups) otherwise.
    size_bytes
        The size of a value (raft, overload), 256 otherwise, or of a call (rpc), 200 and 65536
        otherwise; may be given again for more.
    any_core
        Leave both ends of a call alone (rpc) to whichever cores the system chooses, instead of one.
    rounds
        How often the leader is killed (failover), 21 otherwise, or how often the peak and twice its
        load are measured (overload), 3 otherwise.
    profile
        The times of the cluster's nodes (failover), as for liferaft node.
    groups
        How many groups there are (groups).
    json
        Print the figures as JSON, and nothing else.
    write
        Write rpc.md and rpc.svg into this directory (rpc), with what a thousand idle connections
        cost. Needs matplotlib.
    """
    if what == "failover":
        return _failover(rounds or 21, profile, json=json)
    if what == "overload":
        return print_overload(rounds or 3, seconds or 5.0, (size_bytes or (256,))[0], json=json)
    if what == "groups":
        return print_groups(groups, seconds or 20.0, (in_flight or (64,))[0], json=json)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if what == "raft":
            work = _raft(in_flight or (64,), seconds or 5.0, size_bytes or (256,))
        else:
            work = _rpc(
                in_flight or (1, 16, 64, 256),
                seconds or 2.0,
                size_bytes or (200, 65_536),
                is_pinned=not any_core,
                write=write,
            )
        results = runner.run(work)
    if json:
        print(msgspec.json.encode(results).decode())
    else:
        for size in dict.fromkeys(result.size_bytes for result in results):
            Console().print(_table(what, [each for each in results if each.size_bytes == size]))
    return ExitStatus.OK if not any(result.errors for result in results) else ExitStatus.NEGATIVE


def _failover(rounds: int, profile: str, *, json: bool) -> int:
    from liferaft.bench.failover import bench_failover  # noqa: PLC0415 - only what is measured

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(bench_failover(rounds=rounds, profile=profile))
    if json:
        print(msgspec.json.encode(found).decode())
        return ExitStatus.OK
    low, high = found.gaps[0], found.gaps[-1]
    print(
        f"without writes after kill -9 of the leader, profile {profile}, {rounds} times: median"
        f" {found.median:.3f} s, from {low:.3f} to {high:.3f} s"
    )
    return ExitStatus.OK


async def _raft(
    in_flight: Sequence[int], seconds: float, sizes: Sequence[int]
) -> list[Measurement]:
    from liferaft.bench.raft import bench_raft  # noqa: PLC0415 - only what is measured

    return [
        result
        for size in sizes
        for lanes in in_flight
        for result in await bench_raft(in_flight=lanes, seconds=seconds, size_bytes=size)
    ]


async def _rpc(
    in_flight: Sequence[int],
    seconds: float,
    sizes: Sequence[int],
    *,
    is_pinned: bool,
    write: Path | None,
) -> list[Measurement]:
    from liferaft.bench.rpc import bench_idle, bench_rpc, missing_packages  # noqa: PLC0415 - as above

    for package in missing_packages():
        print(f"left out, as it is not installed: {package}", file=sys.stderr)
    results = await bench_rpc(
        in_flight=in_flight, seconds=seconds, sizes=sizes, is_pinned=is_pinned
    )
    if write is not None:
        from liferaft.bench.report import write_report  # noqa: PLC0415 - as above

        idle = await bench_idle(seconds=seconds)
        write_report(write, results, idle, command="liferaft bench rpc --write docs/benchmarks")
    return results


def _table(what: str, results: list[Measurement]) -> Table:
    table = Table(title=f"liferaft bench {what}: {results[0].size_bytes} bytes")
    table.add_column("")
    for title in ("in flight", "per second", "p50", "p99", "errors"):
        table.add_column(title, justify="right")
    for result in results:
        table.add_row(
            result.name,
            str(result.in_flight),
            f"{result.calls_per_second:,.0f}",
            _milliseconds(result.p50),
            _milliseconds(result.p99),
            str(result.errors),
        )
    return table


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.2f} ms"
