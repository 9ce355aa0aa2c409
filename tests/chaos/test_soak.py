"""All of it together, on a machine that can do only some."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from liferaft.chaos import soak as soak_module
from liferaft.chaos.narrator import SilentNarrator
from liferaft.chaos.needs import Need
from liferaft.chaos.options import ChaosOptions
from liferaft.chaos.soak import Soak


@pytest.mark.slow
@pytest.mark.processes
async def test_what_a_machine_cannot_do_is_named_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(needs: Iterable[Need]) -> str:
        return f"there is no {' nor '.join(needs)}"

    monkeypatch.setattr(soak_module, "lacking", lacking)
    options = ChaosOptions(seconds=0.0, faults=("kill",))
    report = await Soak(options, tmp_path, SilentNarrator()).run()

    assert report.is_ok
    assert {"kill": 1} == report.rounds.faults
    assert {
        "the crash-point sweep": "there is no strace",
        "the crash-point sweep with power cuts": "there is no strace nor loop",
        "power cuts of one node": "there is no loop",
        "power cuts of all nodes": "there is no loop",
    } == report.skipped
