"""`liferaft bench overload`: what is still done of twice the load that can be done."""

import asyncio
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table

from liferaft.cli.exits import ExitStatus
from liferaft.ops.hosting import new_event_loop

if TYPE_CHECKING:
    from liferaft.bench.open_load import Offered
    from liferaft.bench.overload import Overload

BUSY_MAX = 0.8
"""Of one core: beyond it the load itself may be what holds the figures down."""


def print_overload(rounds: int, seconds: float, size_bytes: int, *, json: bool) -> int:
    """Measure, print, and return the exit status: negative when too little is left of the peak."""
    from liferaft.bench.overload import bench_overload  # noqa: PLC0415 - only what is measured

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(bench_overload(rounds=rounds, seconds=seconds, size_bytes=size_bytes))
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        Console().print(_table(found))
        print(_verdict(found))
    return ExitStatus.OK if found.is_kept else ExitStatus.NEGATIVE


def _table(found: "Overload") -> Table:
    table = Table(title=f"liferaft bench overload: {found.size_bytes} bytes")
    table.add_column("")
    titles = ("offered/s", "in time/s", "refused", "late", "p50", "p99", "refused in", "load")
    for title in titles:
        table.add_column(title, justify="right")
    for offered in found.rising:
        table.add_row("rising", *_cells(offered))
    for each in found.rounds:
        table.add_row("peak", *_cells(each.peak))
        table.add_row("twice", *_cells(each.twice))
    return table


def _cells(offered: "Offered") -> list[str]:
    return [
        f"{offered.rate:,.0f}",
        f"{offered.goodput:,.0f}",
        f"{offered.refused_share:.1%}",
        str(offered.late + offered.failed),
        *map(_milliseconds, (offered.p50, offered.p99, offered.refused_p99)),
        f"{offered.busy:.0%}",
    ]


def _verdict(found: "Overload") -> str:
    kept = ", ".join(f"{each.kept:.0%}" for each in found.rounds)
    memory = ", ".join(f"{each.memory_bytes / 2**20:.0f}" for each in found.rounds)
    verdict = "kept" if found.is_kept else "NOT kept"
    before = f"{found.memory_bytes / 2**20:.0f}"
    lines = [
        f"at twice the load {found.kept:.0%} of the peak is left (each time: {kept}): {verdict}",
        f"leader's memory: {before} MiB after the rising loads, {memory} MiB after each twice",
    ]
    lateness = max(each.twice.lateness for each in found.rounds)
    lines.append(
        f"99 % of the calls were sent within {_milliseconds(lateness)} of when they were due"
    )
    elections = sum(each.has_other_leader for each in found.rounds)
    if elections:
        lines.append(f"in {elections} of the rounds there was an election")
    if not found.is_pinned:
        lines.append("the load and the nodes shared their cores: more load leaves less for them")
    if max(each.twice.busy for each in found.rounds) > BUSY_MAX:
        lines.append("the load itself was busy for most of a core: it may be what was measured")
    return "\n".join(lines)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.0f} ms"
