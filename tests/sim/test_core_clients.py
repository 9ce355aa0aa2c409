"""The clients of the core fidelity tell what they were told, and of nothing else."""

from random import Random

from liferaft.sim.core_clients import Client, History, Load, _Reply
from liferaft.sim.core_marks import no_marks
from liferaft.sim.core_world import CoreWorld
from liferaft.sim.options import SimulationOptions


def test_a_late_reply_is_not_taken_for_that_of_the_next_read() -> None:
    """Both reads were asked for once; the first one's answer comes twice, late the second time."""
    world = CoreWorld(1, SimulationOptions(fidelity="core", profile="calm"))
    history = History()
    client = Client(
        1,
        scheduler=world.scheduler,
        network=world.network,
        machines=world.machines,
        history=history,
        acknowledge=world.safety.acknowledged,
        random=Random(1),
        load=Load(),
        marks=no_marks(),
    )
    client.is_over = True  # so that it asks for nothing by itself
    client.read(1)
    first = _Reply(client._attempt, [], version=3)
    client._answered(first)
    client.read(2)

    client._answered(first)

    assert 1 == history.reads
    assert not client.is_idle
