"""What a sweep kills at each point: `python -m liferaft.chaos.sweep_runner OPTIONS`, in JSON.

It prints the id of the thread that does all that touches the disk, waits for a line on its standard
input, and then carries out the script: adds items one after the other, and prints the number of
each that was acknowledged. What it printed, it has promised.
"""

import asyncio
import sys
import threading
from pathlib import Path

import msgspec

from liferaft.chaos.solo import solo_node
from liferaft.ops.hosting import new_event_loop
from liferaft.storage.disk import SystemDisk


class ScriptOptions(msgspec.Struct, frozen=True):
    """Where the log is, and how many items are added, from the first on."""

    data: str
    operations: int


def text_of(number: int) -> str:
    """Return what the item of that number says; items are numbered from 1."""
    return f"item {number}"


async def run_script(options: ScriptOptions, disk: SystemDisk) -> None:
    """Recover the log, and add the items."""
    async with solo_node(Path(options.data), disk) as todo:
        for number in range(1, options.operations + 1):
            item = await todo.add(text_of(number))
            print(item.id, flush=True)  # noqa: T201 - stdout is how the parent hears


async def _main(options: ScriptOptions) -> None:
    disk = SystemDisk()
    try:
        print(await disk.run(threading.get_native_id), flush=True)  # noqa: T201 - likewise
        if sys.stdin.readline():  # nothing else is there to be held up
            await run_script(options, disk)
    finally:
        await disk.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_main(msgspec.json.decode(sys.argv[1], type=ScriptOptions)))
