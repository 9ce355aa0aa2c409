"""Users' own classes under simulation: what is sound passes, what is not is found and named."""

import pytest

from liferaft.errors import ConfigurationError
from liferaft.sim.dispatch import run_seed
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions
from liferaft.sim.result import SimulationResult

BANK = "examples.bank.bank"
BANKS = "tests.sim.banks"
SEEDS_MAX = 10


def options(
    target: str = f"{BANK}:Bank",
    *,
    workload: str = f"{BANK}:workload",
    invariant: str = f"{BANK}:no_money_lost",
    profile: str = "mixed",
    seconds: float = 4.0,
) -> SimulationOptions:
    return SimulationOptions(
        target=target,
        workload=workload,
        invariants=(invariant,) if invariant else (),
        profile=profile,
        seconds=seconds,
    )


def first_failure(of: SimulationOptions) -> SimulationFailed:
    """Return how the first of a few seeds fails."""
    for seed in range(SEEDS_MAX):
        try:
            run_seed(seed, of)
        except SimulationFailed as failure:
            return failure
    pytest.fail(f"none of {SEEDS_MAX} seeds fails")


@pytest.mark.slow
def test_a_sound_class_keeps_its_invariant_under_faults() -> None:
    results = [run_seed(seed, options()) for seed in range(3)]

    assert all(result.outcomes["acknowledged"] > 0 for result in results)
    assert any(result.outcomes.get("raised by the class", 0) > 0 for result in results)
    assert all(result.faults for result in results)


def test_the_same_seed_gives_the_same_run_of_a_users_class() -> None:
    def run() -> SimulationResult:
        return run_seed(5, options())

    assert run() == run()


def test_a_class_that_breaks_its_invariant_is_found() -> None:
    failure = first_failure(options(f"{BANKS}:LossyBank"))

    assert "no_money_lost" == failure.violated_property
    assert "AssertionError" in failure.violation
    assert f"{BANKS}:LossyBank" in failure.command
    assert f"--invariant {BANK}:no_money_lost" in failure.command


def test_a_class_that_is_not_deterministic_is_found_by_comparing_the_replicas() -> None:
    failure = first_failure(options(f"{BANKS}:DreamingBank", profile="calm", invariant=""))

    assert "equal replicas" == failure.violated_property


def test_an_invariant_may_return_false_instead_of_raising() -> None:
    failure = first_failure(options(invariant=f"{BANKS}:never_content", profile="calm"))

    assert "never_content" == failure.violated_property
    assert "does not hold on n" in failure.violation


@pytest.mark.parametrize(
    ("workload", "told"),
    [("greedy_workload", "AssertionError"), ("typing_error", "it raised KeyError")],
)
def test_what_a_workload_itself_raises_is_told(workload: str, told: str) -> None:
    failure = first_failure(options(workload=f"{BANKS}:{workload}", profile="calm"))

    assert "workload" == failure.violated_property
    assert told in failure.violation


@pytest.mark.slow
def test_a_cluster_that_answers_nothing_when_all_faults_have_ended_does_not_go_on() -> None:
    failure = first_failure(options(workload=f"{BANKS}:hasty_workload", profile="calm"))

    assert "progress" == failure.violated_property


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"target": f"{BANK}:workload"}, "is no class"),
        ({"target": f"{BANK}:Bnak"}, "has no 'Bnak'"),
        ({"target": "no.such.module:Bank"}, "there is no module"),
        ({"target": "Bank"}, "is not of the form module:name"),
        ({"workload": ""}, "a workload is needed"),
        ({"workload": f"{BANK}:no_money_lost"}, "is no async function"),
        ({"invariant": f"{BANK}:ACCOUNTS"}, "is no function of a Bank"),
    ],
)
def test_a_wrong_name_is_told_before_anything_runs(changed: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        run_seed(1, options(**changed))  # type: ignore[arg-type] # all of them are strings


def test_a_workload_without_its_class_is_told() -> None:
    with pytest.raises(ConfigurationError, match="needs the class"):
        run_seed(1, SimulationOptions(workload=f"{BANK}:workload"))
