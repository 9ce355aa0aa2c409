"""Sends an array of 256 MB from one process to another, and fetches one.

Prints by how many bytes the peak of the resident memory of either process grew, for each direction:
the sender's, then the receiver's.
"""

import multiprocessing
import resource
from multiprocessing.connection import Connection
from typing import Protocol

import numpy as np
import numpy.typing as npt

import liferaft
from liferaft.link.system import SystemNetwork

ARRAY_BYTES = 256 * 1024 * 1024
FRAME_BYTES_MAX = 300 * 1024 * 1024

Array = npt.NDArray[np.float64]


class Arrays(Protocol):
    """Takes and gives arrays."""

    def take(self, values: Array) -> float: ...
    def give(self, count: int) -> Array: ...


class ArraysObject:
    """The implementation."""

    def take(self, values: Array) -> float:
        """Return the last element."""
        return float(values[-1])

    def give(self, count: int) -> Array:
        """Return so many ones."""
        return np.ones(count)


def peak_bytes() -> int:
    """Return the largest resident memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def host(pipe: Connection) -> None:
    """Serve, and tell the peak whenever asked, until told to end."""
    network = SystemNetwork(frame_bytes_max=FRAME_BYTES_MAX)
    with liferaft.serve(ArraysObject(), Arrays, "127.0.0.1:0", network=network) as stub:
        pipe.send(stub.address)
        while pipe.recv():
            pipe.send(peak_bytes())


def ask(pipe: Connection) -> int:
    """Return the host's peak."""
    pipe.send(True)
    return int(pipe.recv())


def send(address: str, pipe: Connection) -> None:
    """Send one, and tell the growth."""
    network = SystemNetwork(frame_bytes_max=FRAME_BYTES_MAX)
    arrays = liferaft.connect(Arrays, address, network=network, timeout=300)
    values = np.ones(ARRAY_BYTES // 8)
    ours, theirs = peak_bytes(), ask(pipe)
    assert arrays.take(values) == 1.0
    print(peak_bytes() - ours, ask(pipe) - theirs)  # noqa: T201 - the figures
    liferaft.close(arrays)


def fetch(address: str, pipe: Connection) -> None:
    """Fetch one, and tell the growth beyond the array that the host made."""
    network = SystemNetwork(frame_bytes_max=FRAME_BYTES_MAX)
    arrays = liferaft.connect(Arrays, address, network=network, timeout=300)
    ours, theirs = peak_bytes(), ask(pipe)
    assert arrays.give(ARRAY_BYTES // 8)[-1] == 1.0
    print(ask(pipe) - theirs - ARRAY_BYTES, peak_bytes() - ours)  # noqa: T201 - the figures
    liferaft.close(arrays)


def main() -> None:
    """Cross both ways, each between two fresh processes, and print the figures."""
    context = multiprocessing.get_context("spawn")
    for cross in (send, fetch):
        ours, theirs = context.Pipe()
        process = context.Process(target=host, args=(theirs,))
        process.start()
        caller = context.Process(target=cross, args=(ours.recv(), ours))
        caller.start()
        caller.join()
        ours.send(False)
        process.join()


if __name__ == "__main__":
    main()
