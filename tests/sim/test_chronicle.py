"""What was done to a run is on record: who was struck, from when to when."""

import re

import msgspec
import pytest

from liferaft.errors import InvariantViolated
from liferaft.sim.chronicle import Chronicle, note
from liferaft.sim.core_world import CoreWorld, simulate_core
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.faults import draw_schedule
from liferaft.sim.options import Changes, SimulationOptions
from liferaft.sim.run import simulate
from liferaft.sim.schedule import FaultStep
from liferaft.sim.shared_state import SharedState
from liferaft.sim.workload import Seat
from liferaft.sim.world import World
from tests.sim import breakers


def first_step(kind: str, *, seconds: float = 3.0) -> tuple[int, FaultStep]:
    """Return the first seed whose schedule has a step of this kind, and that step."""
    return next(
        (seed, step)
        for seed in range(1000)
        for step in draw_schedule(seed, profile="mixed", seconds=seconds)
        if step.kind == kind and step.at > 1.0
    )


def recorded(kind: str) -> tuple[Chronicle, FaultStep]:
    """Run a seed with one fault alone."""
    seed, step = first_step(kind)
    chronicle = Chronicle()
    simulate(seed, SimulationOptions(seconds=3.0, keep=(step.number,)), chronicle=chronicle)
    return chronicle, step


def test_a_crash_names_the_node_and_how_long_it_was_down() -> None:
    chronicle, step = recorded("crash")
    (fault,) = chronicle.faults
    (down,) = chronicle.nodes

    assert (step.number, "crash", [down.node_id]) == (fault.number, fault.kind, fault.notes)
    assert "process" == fault.family
    assert ("down", "power cut") == (down.condition, down.why)
    assert down.end is not None
    assert chronicle.ended_at is not None
    assert fault.begin <= down.begin < down.end <= chronicle.ended_at


def test_a_pause_lasts_as_long_as_its_fault() -> None:
    chronicle, _ = recorded("pause")
    (fault,) = chronicle.faults
    pause = next(span for span in chronicle.nodes if span.condition == "paused")

    assert (fault.begin, fault.end) == (pause.begin, pause.end)
    assert [pause.node_id] == fault.notes


def test_a_cut_names_its_direction() -> None:
    chronicle, _ = recorded("one-way cut")
    (fault,) = chronicle.faults
    source, arrow, target = fault.notes[0].split()

    assert "→" == arrow
    assert source != target


class Suspicious(SharedState):
    """Finds fault with the replicas from the beginning on."""

    def check_now(self, world: World, group: str) -> None:
        raise InvariantViolated("suspicion: something is wrong")


class Pessimist(SharedState):
    """Finds fault with everything, at the end."""

    async def check_end(self, judge: Seat, world: World) -> None:
        raise InvariantViolated("pessimism: nothing is ever right")


@pytest.mark.parametrize("workload", [Suspicious, Pessimist])
def test_the_time_of_the_violation_is_when_it_was_seen(workload: type[SharedState]) -> None:
    chronicle = Chronicle()
    options = SimulationOptions(profile="calm", seconds=1.0)
    with pytest.raises(SimulationFailed):
        simulate(1, options, workload=workload, chronicle=chronicle)

    assert chronicle.violated_at is not None
    assert (workload is Suspicious) == (chronicle.violated_at < 0.1)
    assert chronicle.ended_at is not None
    assert chronicle.ended_at >= 1.0


def test_a_note_outside_of_all_faults_is_nobodys() -> None:
    note("n1")

    assert [] == Chronicle().faults


def core_chronicle(kind: str, *, changes: Changes = "no") -> Chronicle:
    """Return what is told of a run of the cores in which one fault of a kind is made alone."""
    options = SimulationOptions(fidelity="core", changes=changes, seconds=4.0)
    for seed in range(100):
        schedule = CoreWorld(seed, options).schedule
        number = next((step.number for step in schedule if step.kind == kind), None)
        if number is not None:
            chronicle = Chronicle()
            alone = msgspec.structs.replace(options, keep=(number,))
            simulate_core(seed, alone, chronicle=chronicle)
            if chronicle.faults[0].notes:
                return chronicle
    raise AssertionError(f"no {kind} in so many runs")


def test_among_the_cores_a_crash_is_told_with_whom_it_struck_and_for_how_long() -> None:
    chronicle = core_chronicle("crash")
    (fault,) = chronicle.faults
    (down,) = chronicle.nodes

    assert ("crash", "process", [down.node_id]) == (fault.kind, fault.family, fault.notes)
    assert ("down", "crashed") == (down.condition, down.why)
    assert down.end is not None
    assert chronicle.ended_at is not None
    assert fault.begin <= down.begin < down.end <= chronicle.ended_at


def test_among_the_cores_a_pause_is_told_until_its_end() -> None:
    chronicle = core_chronicle("pause")
    (fault,) = chronicle.faults
    (paused,) = chronicle.nodes

    assert ("paused", [paused.node_id]) == (paused.condition, fault.notes)
    assert (fault.begin, fault.end) == pytest.approx((paused.begin, paused.end))


def test_among_the_cores_cuts_and_weather_are_told_in_words() -> None:
    (cut,) = core_chronicle("one-way cut").faults
    (loss,) = core_chronicle("loss").faults

    assert re.fullmatch(r"n\d → n\d", "; ".join(cut.notes))
    assert re.fullmatch(r"\d+% lost", "; ".join(loss.notes))
    assert ("network", "network") == (cut.family, loss.family)


def test_among_the_cores_a_node_whose_disk_failed_is_told() -> None:
    (down,) = core_chronicle("failed sync").nodes

    assert ("down", "its disk failed") == (down.condition, down.why)


def test_among_the_cores_a_node_that_crashes_while_it_is_paused_is_down_alone() -> None:
    chronicle = Chronicle()
    world = CoreWorld(1, SimulationOptions(fidelity="core"), chronicle=chronicle)
    machine = world.machines[0]
    machine.start()
    machine.pause()
    world.crash(machine, down=1.0)
    conditions = [(span.condition, span.end is None) for span in chronicle.nodes]

    assert [("paused", False), ("down", True)] == conditions


def test_among_the_cores_a_node_that_is_removed_is_told() -> None:
    chronicle = core_chronicle("remove a node", changes="all")

    assert ["it was removed"] == [span.why for span in chronicle.nodes]


def test_among_the_cores_a_broken_promise_is_told_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breakers.win_with_a_minority(monkeypatch)
    chronicle = Chronicle()
    with pytest.raises(SimulationFailed, match="won votes"):
        simulate_core(0, SimulationOptions(fidelity="core"), chronicle=chronicle)

    assert chronicle.violated_at is not None
    assert chronicle.violated_at == chronicle.ended_at
