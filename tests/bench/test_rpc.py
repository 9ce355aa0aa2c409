"""The benchmark of calls measures every contender, and no call fails."""

from pathlib import Path

import pytest

from liferaft.bench import rpc
from liferaft.bench.measure import Measurement
from liferaft.bench.report import write_report
from liferaft.bench.rpc import CONTENDERS, Idle, bench_idle, bench_rpc, missing_packages

pytestmark = pytest.mark.processes

GRPC = ["grpcio", "grpc.aio"]
SEVERAL = ["liferaft", "bare echo", "RPyC", "RPyC (tuples)", *GRPC]
ALONE = ["liferaft", "liferaft (blocking)", "bare echo", "Pyro5", "RPyC", "RPyC (tuples)", *GRPC]


@pytest.mark.slow
async def test_every_contender_is_measured_in_the_same_run() -> None:
    assert [] == missing_packages()

    results = await bench_rpc(in_flight=[1, 4], seconds=0.25, sizes=[200])

    assert ALONE + SEVERAL == [result.name for result in results]
    assert not any(result.errors for result in results)
    # Of those by reference, few end in a round that is so short.
    assert all(result.calls > 0 for result in results if result.name != "RPyC")


async def test_a_rival_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tuple(each for each in CONTENDERS if each.package == "liferaft")
    lost = rpc.Contender("no_such_rival", "raw", CONTENDERS[2].caller)
    monkeypatch.setattr(rpc, "CONTENDERS", (*ours, lost))

    assert ["no_such_rival"] == missing_packages()
    results = await bench_rpc(in_flight=[2], seconds=0.05, sizes=[5000])

    assert ["liferaft", "bare echo"] == [result.name for result in results]


@pytest.mark.slow
async def test_idle_connections_are_opened_and_weighed() -> None:
    idle = await bench_idle(connections=50, seconds=0.1)

    assert 50 == idle.connections
    assert idle.bytes_each > 0
    assert idle.calls_per_second_with > 0


def test_the_report_has_a_table_for_each_size_and_a_plot(tmp_path: Path) -> None:
    results = [
        Measurement(name, lanes, size, 1.0, 100, 0, speed, 0.001, 0.002)
        for size in (200, 65_536)
        for lanes in (1, 64)
        for name, speed in (("liferaft", 500.0), ("bare echo", 1000.0))
    ]

    write_report(tmp_path, results, Idle(1000, 20_000, 100.0, 95.0), command="the command")

    page = (tmp_path / "rpc.md").read_text()
    assert "| liferaft | 64 | 500 | 0.50 | 1.00 ms | 2.00 ms |" in page
    assert "## 65,536 bytes" in page
    assert "Each takes 20.0 KB" in page
    assert "(-5%)" in page
    assert "<svg" in (tmp_path / "rpc.svg").read_text()
