"""Which faults are made, and which are skipped by name."""

import itertools
import random as random_module
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from liferaft.chaos import faults as faults_module
from liferaft.chaos.disk_faults import DAMAGED_STATUS
from liferaft.chaos.faults import FAULTS, chosen, deal, skipped
from liferaft.chaos.needs import Need
from liferaft.cli import chaos as cli
from liferaft.cli.exits import ExitStatus
from liferaft.errors import ConfigurationError


def test_all_faults_are_chosen_unless_some_are_named() -> None:
    assert tuple(FAULTS.values()) == chosen([])
    assert ("kill", "power") == tuple(fault.name for fault in chosen(["power", "kill"]))


def test_an_unknown_fault_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no fault 'flood': give any of kill, "):
        chosen(["kill", "flood"])


def test_what_a_machine_cannot_do_is_skipped_by_name_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking(needs: Iterable[Need]) -> str:
        return "needs root" if Need.LOOP in needs else ""

    monkeypatch.setattr(faults_module, "lacking", lacking)

    names = ("full", "power", "power-all", "power-late")

    assert dict.fromkeys(names, "needs root") == skipped(chosen([]))


def test_every_fault_is_named_by_the_command_and_by_the_page_about_it() -> None:
    told = set(re.findall(r"[a-z-]+", str(cli.chaos.__doc__)))
    page = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text()

    assert [] == [name for name in FAULTS if name not in told]
    assert [] == [name for name in FAULTS if f"\n| `{name}` | " not in page]


def test_every_fault_has_its_turn_before_any_comes_again() -> None:
    faults = chosen([])
    dealt = list(itertools.islice(deal(faults, random_module.Random(1)), 2 * len(faults)))

    assert set(faults) == set(dealt[: len(faults)]) == set(dealt[len(faults) :])
    assert dealt[: len(faults)] != dealt[len(faults) :]


def test_without_faults_nothing_is_dealt() -> None:
    assert [] == list(deal([], random_module.Random(1)))


def test_a_failed_sync_must_end_a_node_with_the_status_of_damage() -> None:
    assert int(ExitStatus.DAMAGED) == DAMAGED_STATUS
