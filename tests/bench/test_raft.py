"""The benchmark of writes runs a real cluster, and no write fails."""

import pytest

from liferaft.bench import etcd
from liferaft.bench.raft import READS, bench_raft

pytestmark = pytest.mark.processes


@pytest.mark.slow
async def test_writes_and_reads_are_measured_without_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(etcd, "is_installed", lambda: False)

    results = await bench_raft(in_flight=4, seconds=0.2, size_bytes=64)

    assert [
        ("liferaft writes", 1),
        ("liferaft writes", 4),
        *((f"liferaft reads ({kind})", 4) for kind in READS),
    ] == [(result.name, result.in_flight) for result in results]
    assert all(result.calls > 0 and result.errors == 0 for result in results)
