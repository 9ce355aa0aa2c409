"""`liferaft chaos`: a real cluster under real faults, with a verdict; sweeps and power cuts."""

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from liferaft.chaos.faults import chosen, skipped
from liferaft.chaos.loop_disk import enter_private_mounts
from liferaft.chaos.narrator import Narrator, PlainNarrator, Scene, SilentNarrator
from liferaft.chaos.needs import Need, lacking
from liferaft.chaos.options import ChaosOptions, checked
from liferaft.chaos.points import calls_of
from liferaft.chaos.power import PowerCuts, PowerOptions
from liferaft.chaos.report import Report, doubts_of, sentences
from liferaft.chaos.run import run_rounds
from liferaft.chaos.soak import Soak
from liferaft.chaos.sweep import Sweep, SweepOptions
from liferaft.cli.exits import ExitStatus
from liferaft.cluster.admin import NodeStatus
from liferaft.errors import ConfigurationError

_DEFAULTS: Final = ChaosOptions()
_SWEEP: Final = SweepOptions(calls=())


class _Orders(msgspec.Struct, frozen=True):
    """What was asked for: rounds, unless one of the last four says otherwise."""

    options: ChaosOptions
    has_seconds: bool
    sweep: tuple[str, ...]
    points: int
    operations: int
    has_power_cuts: bool
    cuts: int
    all_nodes: bool
    is_soak: bool


def chaos(
    *,
    seconds: float | None = None,
    nodes: int = _DEFAULTS.nodes,
    clients: int = _DEFAULTS.clients,
    seed: int = _DEFAULTS.seed,
    faults: str = "",
    sweep: str = "",
    points: int = _SWEEP.points_max,
    operations: int = _SWEEP.operations,
    with_power_cuts: bool = False,
    power_cuts: int = 0,
    all_nodes: bool = False,
    soak: bool = False,
    directory: Path | None = None,
    json: bool = False,
) -> int:
    """Break a real cluster in every way that this machine allows, and judge what clients saw.

    Without --sweep, --power-cuts and --soak: rounds of faults, under load from client processes.
    What needs strace, root or loop devices is skipped, and named, where they are not had. Ends with
    status 0 only if there is no violation.

    Parameters
    ----------
    seconds
        How long faults are made, 60 if not given; each kind has its turn in any case. A sweep or
        power cuts end after so long, whatever is left to do.
    nodes
        How many nodes, each a process of its own.
    clients
        How many clients, each a process of its own.
    seed
        Which faults come when.
    faults
        Only these kinds, separated by commas: kill, kill-snapshot, kill-all, restart, crash-loop,
        pause, starve, kill-client, rot, replace, transfer, isolate, one-way, split, bridge, flap,
        leak, slow-links, reset, full, fsync, slow, crash-point, power, power-all, power-late.
    sweep
        Kill a node at each system call of these kinds instead: all, or some, separated by commas,
        of write, fdatasync, rename, truncate, open.
    points
        How many points of a sweep are tried, spread evenly.
    operations
        How many writes the script of a sweep makes.
    with_power_cuts
        Cut the power of the disk after each kill of a sweep, too.
    power_cuts
        Cut the power of a node's disk so many times instead.
    all_nodes
        Cut the power of all nodes at once.
    soak
        Rounds, sweeps and power cuts, all within --seconds.
    directory
        Where the data, logs and histories go; a temporary one if not given, which is kept only when
        there is a violation.
    json
        Print the report as one JSON object, and nothing else.
    """
    options = ChaosOptions(
        seconds=_DEFAULTS.seconds if seconds is None else seconds,
        nodes=nodes,
        clients=clients,
        seed=seed,
        faults=_names(faults),
    )
    orders = _Orders(
        options=checked(options),
        has_seconds=seconds is not None,
        sweep=_names(sweep),
        points=points,
        operations=operations,
        has_power_cuts=with_power_cuts,
        cuts=power_cuts,
        all_nodes=all_nodes,
        is_soak=soak,
    )
    enter_private_mounts()
    _check(orders)
    try:
        return asyncio.run(_run(orders, directory, is_json=json))
    except asyncio.CancelledError:  # SIGTERM, which ends everything as cleanly as Ctrl-C
        return ExitStatus.INTERRUPTED


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _check(orders: _Orders) -> None:
    """Raise `ConfigurationError` for what contradicts itself, or cannot be done on this machine."""
    faults = chosen(orders.options.faults)
    calls_of(orders.sweep)
    modes = {"--sweep": orders.sweep, "--power-cuts": orders.cuts, "--soak": orders.is_soak}
    given = [name for name, value in modes.items() if value]
    if len(given) > 1:
        raise ConfigurationError(f"{' and '.join(given)} are different things: give one of them")
    if orders.has_power_cuts and not orders.sweep:
        raise ConfigurationError("--with-power-cuts is for --sweep: give both")
    if orders.all_nodes and not orders.cuts:
        raise ConfigurationError("--all-nodes is for --power-cuts: give both")
    if orders.cuts < 0 or orders.points < 1 or orders.operations < 1:
        raise ConfigurationError("give 1 or more of --power-cuts, --points and --operations")
    reasons = skipped(faults)
    if len(reasons) == len(faults):
        raise ConfigurationError(
            f"none of these faults can be made here: {'; '.join(reasons.values())}"
        )
    needs = [Need.STRACE] if orders.sweep else []
    needs += [Need.LOOP] if orders.cuts or orders.has_power_cuts else []
    if reason := lacking(needs):
        raise ConfigurationError(f"{given[0]} cannot be done here: {reason}")


async def _run(orders: _Orders, directory: Path | None, *, is_json: bool) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    place = directory or Path(tempfile.mkdtemp(prefix="liferaft-chaos-"))
    is_kept = directory is not None
    try:
        with contextlib.closing(_narrator(is_json=is_json)) as narrator:
            report = await _carry_out(orders, place, narrator, is_kept=is_kept)
        _print(report, is_json=is_json)
        if not report.is_ok or doubts_of(report):
            is_kept = True
            print(f"The data, logs and histories are kept in {place}", file=sys.stderr)
    except Exception:  # whatever it was, the logs may tell why
        is_kept = True
        raise
    finally:
        if not is_kept:
            shutil.rmtree(place, ignore_errors=True)
    if not report.is_ok:
        return ExitStatus.NEGATIVE
    return ExitStatus.UNDECIDED if doubts_of(report) else ExitStatus.OK


def _carry_out(
    orders: _Orders, place: Path, narrator: Narrator, *, is_kept: bool
) -> Awaitable[Report]:
    options = orders.options
    seconds = options.seconds if orders.has_seconds else 0.0
    if orders.is_soak:
        return Soak(options, place, narrator).run()
    if orders.sweep:
        swept = SweepOptions(
            calls=calls_of(orders.sweep),
            operations=orders.operations,
            points_max=orders.points,
            has_power_cuts=orders.has_power_cuts,
            seed=options.seed,
            seconds=seconds,
        )
        return Sweep(swept, place, narrator.tell).run()
    if orders.cuts:
        cuts = PowerOptions(
            cuts=orders.cuts, all_nodes=orders.all_nodes, seed=options.seed, seconds=seconds
        )
        return PowerCuts(cuts, place, narrator.tell).run()
    return run_rounds(options, place, narrator, is_kept=is_kept)


def _print(report: Report, *, is_json: bool) -> None:
    if is_json:
        print(msgspec.json.encode(report).decode(), flush=True)
    else:
        print("\n".join(sentences(report)), flush=True)


def _narrator(*, is_json: bool) -> Narrator:
    if is_json:
        return SilentNarrator()
    if sys.stdout.isatty():
        return LiveNarrator(Console(highlight=False))
    return PlainNarrator(sys.stdout)


class LiveNarrator:
    """Paints on a terminal: lines that stay; below them the nodes and what is done to them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def tell(self, elapsed: float, sentence: str) -> None:
        """Print a line above what is shown."""
        line = Text(f"{elapsed:6.1f} s  ", style="dim")
        line.append(sentence, style="bold red" if "VIOLATION" in sentence else "not dim")
        self._console.print(line)

    def show(self, scene: Scene) -> None:
        """Paint how things stand."""
        self._live.start()
        self._live.update(Group(_nodes(scene), _figures(scene)), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()


def _nodes(scene: Scene) -> Table:
    table = Table("node", "role", "term", "commit index", "under", expand=True)
    for node, status in scene.nodes.items():
        mark = Text(scene.marks.get(node, ""), style="yellow")
        table.add_row(node, *_cells(status), mark)
    return table


def _cells(status: NodeStatus | None) -> tuple[Text | str, ...]:
    if status is None:
        return (Text("does not answer", style="red"), "", "")
    style = "bold green" if status.role == "leader" else ""
    return (Text(status.role, style=style), str(status.current_term), str(status.commit_index))


def _figures(scene: Scene) -> Text:
    made = ", ".join(f"{count} {name}" for name, count in scene.faults.items() if count)
    text = Text(f"{scene.elapsed:.0f} of {scene.seconds:.0f} s; faults: {made or 'none yet'}; ")
    style = "bold red" if scene.problems else "green"
    return text.append(f"{scene.problems} violations", style=style)
