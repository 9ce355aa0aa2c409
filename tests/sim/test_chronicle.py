"""What was done to a run is on record: who was struck, from when to when."""

import pytest

from liferaft.errors import InvariantViolated
from liferaft.sim.chronicle import Chronicle, note
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.faults import draw_schedule
from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate
from liferaft.sim.schedule import FaultStep
from liferaft.sim.shared_state import SharedState
from liferaft.sim.workload import Seat
from liferaft.sim.world import World


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
