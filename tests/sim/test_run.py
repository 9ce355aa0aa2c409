"""One seed is one run: byte for byte, in this process and in any other."""

import subprocess
import sys

import pytest
from typing_extensions import override

from liferaft.errors import InvariantViolated
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate
from liferaft.sim.shared_state import SharedState
from liferaft.sim.workload import Seat
from liferaft.sim.world import World

SHORT = SimulationOptions(seconds=3.0)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run() -> None:
    one, again = simulate(3, SHORT), simulate(3, SHORT)

    assert one == again


@pytest.mark.slow
def test_another_seed_gives_another_run() -> None:
    one, other = simulate(3, SHORT), simulate(4, SHORT)

    assert one.digest != other.digest


@pytest.mark.slow
@pytest.mark.processes
def test_the_order_of_hashes_changes_nothing() -> None:
    """A set that is iterated somewhere would show here: each process hashes strings its own way."""
    program = (
        "from liferaft.sim.options import SimulationOptions\n"
        "from liferaft.sim.run import simulate\n"
        "print(simulate(3, SimulationOptions(seconds=3.0)).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert {f"{simulate(3, SHORT).digest}\n"} == digests


def test_a_cluster_without_faults_loses_nothing() -> None:
    result = simulate(1, SimulationOptions(profile="calm", seconds=2.0))

    assert (0, 1, {}) == (result.outcomes["unknown"], result.elections, result.faults)


class Crowded(SharedState):
    """Remembers how many steps of all clients were under way at a time, at most."""

    most = 0

    def __init__(self) -> None:
        super().__init__()
        self._under_way = 0

    @override
    async def step(self, seat: Seat) -> None:
        self._under_way += 1
        Crowded.most = max(Crowded.most, self._under_way)
        try:
            await super().step(seat)
        finally:
            self._under_way -= 1


@pytest.mark.slow
@pytest.mark.parametrize(("burst", "most"), [(0, 1), (1, 1), (7, 7)])
def test_a_client_makes_so_many_calls_at_once(burst: int, most: int) -> None:
    Crowded.most = 0
    options = SimulationOptions(seconds=2.0, profile="calm", clients=1, burst=burst)
    result = simulate(1, options, workload=Crowded)

    assert most == Crowded.most
    assert 60 <= sum(result.outcomes.values()) <= 200


@pytest.mark.slow
def test_where_something_goes_wrong_clients_make_several_calls_at_once_in_some_runs() -> None:
    found = set()
    for seed in range(12):
        Crowded.most = 0
        simulate(seed, SimulationOptions(seconds=0.5, clients=1, changes="no"), workload=Crowded)
        found.add(Crowded.most)

    assert {1, 3} < found


@pytest.mark.slow
def test_a_run_with_some_of_its_steps_has_those_and_no_others() -> None:
    whole = simulate(3, SHORT)
    kept = tuple(step.number for step in whole.schedule[1:3])
    part = simulate(3, SimulationOptions(seconds=3.0, keep=kept))

    assert whole.schedule[1:3] == part.schedule
    assert whole.digest != part.digest


class Pessimist(SharedState):
    """Finds fault with everything."""

    async def check_end(self, judge: Seat, world: World) -> None:
        raise InvariantViolated("pessimism: nothing is ever right")


def test_a_failure_names_the_promise_and_the_command_that_repeats_the_run() -> None:
    options = SimulationOptions(profile="calm", seconds=1.0, nodes=5)

    with pytest.raises(SimulationFailed) as caught:
        simulate(17, options, workload=Pessimist)

    assert "pessimism" == caught.value.violated_property
    assert "repeat it: liferaft sim --seed 17 --nodes 5 --seconds 1 --profile calm" in str(
        caught.value
    )
