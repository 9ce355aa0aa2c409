"""`liferaft bench groups`: what many Raft groups on the same nodes cost."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from liferaft.cli.exits import ExitStatus
from liferaft.ops.hosting import new_event_loop

if TYPE_CHECKING:
    from liferaft.bench.groups import IdleGroups


def print_groups(groups: int, seconds: float, in_flight: int, *, json: bool) -> int:
    """Measure, print, and return the exit status."""
    from liferaft.bench.groups import bench_groups  # noqa: PLC0415 - only what is measured

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(bench_groups(groups=groups, seconds=seconds, in_flight=in_flight))
    print(msgspec.json.encode(found).decode() if json else _report(found))
    return ExitStatus.OK if not any(each.errors for each in found.writes) else ExitStatus.NEGATIVE


def _report(found: "IdleGroups") -> str:
    cores = ", ".join(f"{each:.1%}" for each in found.cores)
    memory = ", ".join(f"{each / 2**20:.0f}" for each in found.memory_bytes)
    middle = found.woken[len(found.woken) // 2]
    lines = [
        f"{found.groups} groups were at rest {found.started_in:.1f} s after the nodes' start",
        f"at rest for {found.seconds:.0f} s, each node took this share of a core: {cores}",
        f"each node holds {memory} MiB",
        f"a call wakes a group in {middle * 1e3:.1f} ms, at most {found.woken[-1] * 1e3:.1f}",
    ]
    lines += [
        f"{each.name}, {each.in_flight} in flight: {each.calls_per_second:,.0f}/s"
        for each in found.writes
    ]
    lines.append(
        f"the {found.orphaned} groups of a node that was killed had new leaders within"
        f" {found.led_again_in:.1f} s"
    )
    return "\n".join(lines)
