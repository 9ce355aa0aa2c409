"""`liferaft bench raft` and `liferaft bench rpc`: figures, beside the rivals', in one run."""

import asyncio
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from liferaft.bench.measure import Measurement
from liferaft.cli.exits import ExitStatus
from liferaft.ops.hosting import new_event_loop

Positive = Annotated[int, Parameter(validator=Number(gte=1))]


def bench(
    what: Literal["raft", "rpc"],
    /,
    *,
    in_flight: Positive = 64,
    seconds: Annotated[float, Parameter(validator=Number(gt=0))] = 5.0,
    size_bytes: Positive = 256,
    any_core: bool = False,
    json: bool = False,
) -> int:
    """Measure writes to a cluster of three processes, or remote calls between two.

    Figures of one run on one machine compare with each other, and with nothing else.

    Parameters
    ----------
    what
        "raft": durable writes and linearizable reads of a key-value dictionary, beside etcd where
        Debian's etcd-server and nghttp2-client are installed. "rpc": typed calls, beside a bare
        echo, and RPyC where it is installed.
    in_flight
        How many calls are under way at a time; one at a time is measured too.
    seconds
        How long each figure is measured.
    size_bytes
        The size of a value (raft) or of a call (rpc).
    any_core
        Leave both ends of a call alone (rpc) to whichever cores the system chooses, instead of one.
    json
        Print the figures as JSON, and nothing else.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        results = runner.run(
            _measure(
                what,
                in_flight=in_flight,
                seconds=seconds,
                size_bytes=size_bytes,
                is_pinned=not any_core,
            )
        )
    if json:
        print(msgspec.json.encode(results).decode())
    else:
        Console().print(_table(what, results))
    return ExitStatus.OK if not any(result.errors for result in results) else ExitStatus.NEGATIVE


async def _measure(
    what: Literal["raft", "rpc"],
    *,
    in_flight: int,
    seconds: float,
    size_bytes: int,
    is_pinned: bool,
) -> list[Measurement]:
    if what == "rpc":
        from liferaft.bench.rpc import bench_rpc  # noqa: PLC0415 - only what is measured

        return await bench_rpc(
            in_flight=in_flight, seconds=seconds, size_bytes=size_bytes, is_pinned=is_pinned
        )
    from liferaft.bench.raft import bench_raft  # noqa: PLC0415 - likewise

    return await bench_raft(in_flight=in_flight, seconds=seconds, size_bytes=size_bytes)


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
