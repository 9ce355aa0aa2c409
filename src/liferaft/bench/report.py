"""The figures of one run as a page and a plot, for docs/benchmarks."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from liferaft.bench.measure import Measurement
from liferaft.bench.rpc import Idle

PACKAGES: Final = ("liferaft", "msgspec", "uvloop", "Pyro5", "rpyc", "grpcio")


def write_report(
    directory: Path, results: Sequence[Measurement], idle: Idle, *, command: str
) -> None:
    """Write `rpc.md` and `rpc.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rpc.md").write_text(_page(results, idle, command), encoding="utf-8")
    _plot(directory / "rpc.svg", results)


_INTRODUCTION: Final = """\
A call carries typed arguments and brings a dataclass back, both of the size given; sessions,
deadlines and at-most-once are on, as they are by default. The bare echo is uvloop and msgspec with
a length before each message. gRPC's messages are encoded by msgspec, too; Pyro5 was told how the
dataclass becomes a dictionary and back. RPyC gives a dataclass by reference: each field that is
read is one more call, which blocks, so its calls in flight are those of as many threads on one
connection; "tuples" are what it passes by value, made a dataclass by hand where they arrive. With
one call in flight both ends are held on one core. Figures of one run compare with each other, and
with nothing else.

![calls a second](rpc.svg)
"""


def _page(results: Sequence[Measurement], idle: Idle, command: str) -> str:
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES if _version(name))
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {versions}"
    parts = [
        "# Remote calls, beside others'",
        f"`{command}` on {datetime.now(UTC):%Y-%m-%d}: {where}.",
        _INTRODUCTION.rstrip(),
    ]
    for size in dict.fromkeys(result.size_bytes for result in results):
        own = [result for result in results if result.size_bytes == size]
        parts += [f"## {size:,} bytes", "\n".join(_table(own))]
    parts += [f"## {idle.connections:,} idle connections", _about(idle)]
    return "\n\n".join(parts) + "\n"


def _about(idle: Idle) -> str:
    change = idle.calls_per_second_with / idle.calls_per_second_without - 1
    return (
        f"Each takes {idle.bytes_each / 1000:.1f} KB of the host's memory. A busy connection with\n"
        f"64 calls in flight made {idle.calls_per_second_without:,.0f} calls a second without\n"
        f"them and {idle.calls_per_second_with:,.0f} beside them ({change:+.0%})."
    )


def _table(results: Sequence[Measurement]) -> list[str]:
    lines = [
        "| | in flight | calls/s | of the bare echo | p50 | p99 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    bare = {r.in_flight: r.calls_per_second for r in results if r.name == "bare echo"}
    lines += [
        f"| {r.name} | {r.in_flight} | {r.calls_per_second:,.0f}"
        f" | {r.calls_per_second / bare[r.in_flight]:.2f}"
        f" | {_milliseconds(r.p50)} | {_milliseconds(r.p99)} |"
        for r in results
    ]
    return lines


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.2f} ms"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _plot(path: Path, results: Sequence[Measurement]) -> None:
    """Draw a group of bars for each number of calls in flight, a panel for each size."""
    import matplotlib as mpl  # noqa: PLC0415 - installed for benchmarks only

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    # Ids from the content: the same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "liferaft"
    sizes = list(dict.fromkeys(result.size_bytes for result in results))
    names = list(dict.fromkeys(result.name for result in results))
    figure, panels = plt.subplots(1, len(sizes), figsize=(6 * len(sizes), 4.5), squeeze=False)
    for panel, size in zip(panels[0], sizes, strict=True):
        own = [result for result in results if result.size_bytes == size]
        lanes = sorted({result.in_flight for result in own})
        for place, name in enumerate(names):
            by_lanes = {r.in_flight: r.calls_per_second for r in own if r.name == name}
            at = [n + 0.8 * place / len(names) for n, each in enumerate(lanes) if each in by_lanes]
            height = [by_lanes[each] for each in lanes if each in by_lanes]
            panel.bar(at, height, 0.8 / len(names), label=name)
        panel.set_title(f"{size:,} bytes")
        panel.set_xlabel("calls in flight")
        panel.set_ylabel("calls a second")
        panel.set_xticks([n + 0.4 for n in range(len(lanes))], [str(each) for each in lanes])
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
