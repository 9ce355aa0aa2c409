"""The benchmark of calls measures every contender, and no call fails."""

import importlib.util

import pytest

from liferaft.bench.rpc import bench_rpc

pytestmark = pytest.mark.processes


@pytest.mark.slow
async def test_every_contender_is_measured_in_the_same_run() -> None:
    results = await bench_rpc(in_flight=4, seconds=0.1, size_bytes=200)

    alone = ["RPyC"] if importlib.util.find_spec("rpyc") is not None else []
    assert ["liferaft", "bare echo", *alone, "liferaft", "bare echo"] == [r.name for r in results]
    assert all(result.calls > 0 and result.errors == 0 for result in results)
