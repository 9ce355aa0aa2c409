"""`liferaft sim`: whole clusters under faults, on a virtual clock, from one seed each."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from liferaft.cli.exits import ExitStatus
from liferaft.errors import ConfigurationError
from liferaft.sim import shrink as shrinking
from liferaft.sim.campaign import Outcome, SeedFailure, Summary, run_campaign
from liferaft.sim.dispatch import run_seed
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import Changes, Fidelity, SimulationOptions, checked
from liferaft.sim.record import Recording
from liferaft.sim.result import SimulationResult
from liferaft.sim.timeline import RunSummary

_DEFAULTS: Final = SimulationOptions()
Positive = Annotated[int, Parameter(validator=Number(gte=1))]


def sim(
    target: str = "",
    /,
    *,
    seeds: Positive = 100,
    first_seed: int = 0,
    seed: int | None = None,
    nodes: int = _DEFAULTS.nodes,
    groups: int = _DEFAULTS.groups,
    clients: int = _DEFAULTS.clients,
    commands_per_second: float = _DEFAULTS.commands_per_second,
    burst: int = _DEFAULTS.burst,
    seconds: float = _DEFAULTS.seconds,
    profile: str = _DEFAULTS.profile,
    fidelity: Fidelity = _DEFAULTS.fidelity,
    changes: Changes = _DEFAULTS.changes,
    keep: str = "",
    workload: str = "",
    invariant: list[str] | None = None,
    jobs: Positive = 1,
    events: Path | None = None,
    trace: Path | None = None,
    shrink: bool = False,
    json: bool = False,
) -> int:
    """Run clusters in a simulation, under faults drawn from seeds, and check every promise.

    Ends with status 0 when every promise was kept, 1 when one was broken: then it prints the seed,
    the promise and the one command that repeats the run.

    Parameters
    ----------
    target
        Your own class, as module:Class; without it a to-do list and a dictionary are tried.
    seeds
        How many seeds are run.
    first_seed
        The first of them.
    seed
        Run this seed alone.
    nodes
        How many nodes each cluster has.
    groups
        How many groups each node hosts; 0 for nodes of one cluster. The first group is used all the
        time, the others by turns, so that they rest; each has clients of its own.
    clients
        How many clients call it.
    commands_per_second
        How many calls they make together in a virtual second, about.
    burst
        How many calls a client makes at once before it waits for all of them; 0 for one, and for up
        to 20 in about every second run, but in calm ones and with your own class.
    seconds
        For how many virtual seconds faults are made.
    profile
        What goes wrong: mixed, network, process, disk, clock, or calm for nothing.
    fidelity
        "full" runs all that ships; "core" the Raft cores alone, on a simpler disk and network, for
        many seeds.
    changes
        In which runs members come and go and leadership is handed over: in "no" run, in "some"
        (about every second one, but no calm one, and none with groups), or in "all". The others of
        a seed's faults are the same in all three. Among the cores snapshots are taken in the same
        runs; whole nodes take them anyway.
    keep
        Carry out these steps of the fault schedule alone: their numbers, with commas, or none.
    workload
        For your own class, module:function: an async function of a stub and a random.Random that
        makes one step of one client.
    invariant
        For your own class, module:function: looks at a replica's object, and raises or returns
        False when something is wrong. May be given again for more.
    jobs
        How many processes share the seeds.
    events
        With --seed: write every transition of every node here, as one JSON object a line.
    trace
        With --seed: write the run here as one HTML page, to be looked at in a browser.
    shrink
        When a seed fails: look for a shorter run that fails in the same way. It is the one that
        --events and --trace write down then.
    json
        Print what was done as one JSON object, and nothing else.
    """
    sys.path.insert(0, str(Path.cwd()))  # so that a class beside the user is found
    options = checked(
        SimulationOptions(
            fidelity=fidelity,
            nodes=nodes,
            groups=groups,
            clients=clients,
            commands_per_second=commands_per_second,
            burst=burst,
            seconds=seconds,
            profile=profile,
            changes=changes,
            keep=_parse_keep(keep),
            target=target,
            workload=workload,
            invariants=tuple(invariant or ()),
        )
    )
    report = Console(stderr=True, highlight=False)
    if seed is not None:
        recording = Recording(events, trace)
        return _run_one(seed, options, recording, report, is_json=json, is_shrunk=shrink)
    for name, path in (("--events", events), ("--trace", trace)):
        if path is not None:
            raise ConfigurationError(f"{name} shows one run: give --seed")
    began_at = time.perf_counter()
    summary = _run_many(first_seed, seeds, options, jobs, report, is_quiet=json)
    elapsed = time.perf_counter() - began_at
    if json:
        print(msgspec.json.encode(summary).decode())
    else:
        _print_summary(Console(highlight=False), summary, elapsed)
    for failure in summary.failures[:1] if shrink else ():
        again = _recorded(failure.seed, options, Recording())
        if isinstance(again, SimulationFailed):
            _shrink(failure.seed, options, again, report)
        else:
            report.print(
                f"seed {failure.seed} kept every promise when it was run again: something in it is"
                " not of the simulation's making, such as the real clock or the real randomness"
            )
    return ExitStatus.OK if summary.is_ok else ExitStatus.NEGATIVE


def _parse_keep(text: str) -> tuple[int, ...] | None:
    if not text:
        return None
    try:
        return () if text == "none" else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--keep is {text!r}: give numbers such as 1,4,9") from None


def _run_one(
    seed: int,
    options: SimulationOptions,
    recording: Recording,
    report: Console,
    *,
    is_json: bool,
    is_shrunk: bool,
) -> int:
    result = _recorded(seed, options, recording)
    if isinstance(result, SimulationResult):
        if is_json:
            print(msgspec.json.encode(result).decode())
        else:
            _print_result(Console(highlight=False), result)
        return ExitStatus.OK
    if is_json:
        failed = SeedFailure(seed, result.violated_property, result.violation, result.command)
        print(msgspec.json.encode(failed).decode())
    else:
        _print_violation(report, seed, result.violation, result.command)
    if is_shrunk:
        shorter = _shrink(seed, options, result, report)
        if recording.observers:
            _recorded(seed, shorter, recording.anew())
    return ExitStatus.NEGATIVE


def _recorded(
    seed: int, options: SimulationOptions, recording: Recording
) -> SimulationResult | SimulationFailed:
    """Run the seed and write down what it did, whatever its end."""
    try:
        result = run_seed(
            seed, options, observers=recording.observers, chronicle=recording.chronicle
        )
    except SimulationFailed as failure:
        recording.finish(RunSummary(seed, failure.command, failure.violation))
        return failure
    recording.finish(RunSummary(seed, options.command(seed), digest=result.digest))
    return result


def _run_many(
    first_seed: int,
    seeds: int,
    options: SimulationOptions,
    jobs: int,
    report: Console,
    *,
    is_quiet: bool,
) -> Summary:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=report, disable=is_quiet or not report.is_terminal) as bar:
        task = bar.add_task("seeds", total=seeds)

        def tell(outcome: Outcome) -> None:
            bar.advance(task)
            if isinstance(outcome, SeedFailure) and not is_quiet:
                _print_violation(report, outcome.seed, outcome.violation, outcome.command)

        return run_campaign(
            first_seed, seeds, options, jobs=min(jobs, os.cpu_count() or 1), on_seed=tell
        )


def _shrink(
    seed: int, options: SimulationOptions, failure: SimulationFailed, report: Console
) -> SimulationOptions:
    """Look for a shorter run that fails, and tell the command that shows it; return its options."""
    report.print(f"seed {seed}: looking for a shorter run that fails in the same way ...")
    shorter, shortest = shrinking.shrink(seed, options, failure)
    kept = "all" if shorter.keep is None else str(len(shorter.keep))
    report.print(f"steps of the schedule that are left: {kept}")
    _print_violation(report, seed, shortest.violation, shortest.command)
    return shorter


def _print_violation(report: Console, seed: int, violation: str, command: str) -> None:
    """Print what was broken and the command that repeats it, each on one line: it is copied."""
    text = f"seed {seed}: {violation}\nrepeat it: {command}"
    report.print(text, soft_wrap=True, markup=False)


def _print_result(console: Console, result: SimulationResult) -> None:
    console.print(
        f"seed {result.seed}: every promise was kept in {result.virtual_seconds:.1f} virtual "
        f"seconds, {result.events:,} events, {result.elections} elections"
    )
    console.print(f"digest {result.digest}")
    console.print(_table("Faults", result.faults))
    console.print(_table("Clients", result.outcomes))
    for step in result.schedule:
        console.print(f"  step {step.number:3} at {step.at:6.2f} s  {step.kind}", markup=False)


def _print_summary(console: Console, summary: Summary, elapsed: float) -> None:
    console.print(
        f"{summary.seeds:,} seeds, {summary.virtual_hours:,.2f} simulated hours, "
        f"{summary.events:,} events, {summary.elections:,} elections, "
        f"{summary.applied:,} entries applied"
    )
    console.print(
        f"{summary.virtual_hours * 3600 / elapsed:,.1f} simulated seconds a second of this machine"
    )
    console.print(f"digest {summary.digest}")
    known = len(summary.marks) + len(summary.never)
    console.print(_table("Faults", summary.faults))
    console.print(_table("Clients", summary.outcomes))
    console.print(_table(f"Marks: {len(summary.marks)} of {known} hit", summary.marks))
    for mark in summary.never:
        console.print(f"never: {mark}", markup=False)
    failed = len(summary.failures)
    console.print(
        f"{failed} of {summary.seeds:,} seeds broke a promise"
        if failed
        else "every promise was kept"
    )


def _table(title: str, counts: dict[str, int]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table
