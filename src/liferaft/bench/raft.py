"""Writes a second: three nodes in processes of their own, on disk at a majority, exactly once.

The load is a replicated key-value dictionary with 16-byte keys, from one client on one connection;
where etcd is installed, the same load is put to three etcd nodes in the same run. Reads of every
kind are measured; those that any node may answer, at one follower.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from liferaft.api import aclose, aconnect
from liferaft.bench import etcd
from liferaft.bench.measure import Measurement, measure
from liferaft.ops.processes import LocalCluster
from liferaft.rpc.views import Reads, Within

NODES = 3
LEASE_CLOCK_ERROR: Final = 0.1
READS: Final[Mapping[str, Reads]] = {
    "linearizable": "linearizable",
    "lease": "lease",
    "follower": "follower",
    "within 0.5 s": Within(0.5),
    "stale": "stale",
}
KEYS = 5_000
"""As many keys as a small configuration store has; the state stays small, the log does not."""


class AsyncKeyValue(Protocol):
    """The dictionary as a client on an event loop sees it."""

    async def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""

    async def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""


async def bench_raft(*, in_flight: int, seconds: float, size_bytes: int) -> list[Measurement]:
    """Measure writes and reads of our own cluster, and etcd's writes where it is installed."""
    results = []
    objects = ["liferaft.recipes.kv:KeyValue"]
    async with LocalCluster(
        NODES, objects=objects, options=[f"--lease-clock-error={LEASE_CLOCK_ERROR}"]
    ) as cluster:
        leader = (await cluster.wait_leader()).node_id
        store = await aconnect(AsyncKeyValue, cluster.address)
        try:
            results += [
                await _writes(store, lanes, seconds, size_bytes) for lanes in sorted({1, in_flight})
            ]
        finally:
            await aclose(store)
        follower = next(each for node, each in cluster.addresses.items() if node != leader)
        results += [
            # Whoever has to ask the leader is led there from any address.
            await _reads(follower, kind, in_flight, seconds, size_bytes)
            for kind in READS
        ]
    if etcd.is_installed():
        results += [
            await etcd.bench_etcd(in_flight=lanes, seconds=seconds, size_bytes=size_bytes)
            for lanes in sorted({1, in_flight})
        ]
    return results


async def _writes(
    store: AsyncKeyValue, in_flight: int, seconds: float, size_bytes: int
) -> Measurement:
    value = b"v" * size_bytes
    return await measure(
        "liferaft writes",
        lambda number: store.put(_key(number), value),
        in_flight=in_flight,
        seconds=seconds,
        size_bytes=size_bytes,
    )


async def _reads(
    address: str, kind: str, in_flight: int, seconds: float, size_bytes: int
) -> Measurement:
    store = await aconnect(AsyncKeyValue, address, reads=READS[kind])
    try:
        return await measure(
            f"liferaft reads ({kind})",
            lambda number: store.get(_key(number)),
            in_flight=in_flight,
            seconds=seconds,
            size_bytes=size_bytes,
        )
    finally:
        await aclose(store)


def _key(number: int) -> bytes:
    return b"k%015d" % (number % KEYS)
