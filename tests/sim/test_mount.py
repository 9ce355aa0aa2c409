"""A process that is gone cannot write, though its tasks still run in the simulation."""

from random import Random

import pytest

from liferaft.sim.loop import run_simulated
from liferaft.sim.mount import Mount
from liferaft.storage.faulty import FaultyDisk


def test_a_life_that_has_ended_changes_nothing_any_more() -> None:
    async def write_after_the_end() -> list[str]:
        disk = FaultyDisk(Random(1))
        disk.make_directory("/data")
        dead = Mount(disk)
        await dead.run(lambda: dead.open("/data/before", create=True).close())
        disk.kill()
        with pytest.raises(OSError, match="the machine has crashed"):
            await dead.run(lambda: dead.open("/data/zombie", create=True).close())
        alive = Mount(disk)
        await alive.run(lambda: alive.open("/data/after", create=True).close())
        return disk.paths()

    assert ["/data/after", "/data/before"] == run_simulated(write_after_the_end)
