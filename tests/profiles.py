"""How many examples hypothesis tries: a few, always the same ones, or many that are always others.

`LIFERAFT_PROFILE=soak` asks for the many. tests/conftest.py loads the profile.
"""

import os
from typing import Final

from hypothesis import HealthCheck, settings

PROFILE: Final = os.environ.get("LIFERAFT_PROFILE", "deterministic")
SOAK_FACTOR: Final = 40


def load_profile() -> None:
    """Make the profile the one that every test uses."""
    settings.register_profile("deterministic", derandomize=True, deadline=None)
    settings.register_profile(
        "soak",
        derandomize=False,
        deadline=None,
        max_examples=100 * SOAK_FACTOR,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile(PROFILE)


def machine_settings(*, examples: int, steps: int) -> settings:
    """Return the settings of a state machine; a soak tries `SOAK_FACTOR` times the examples."""
    is_soak = PROFILE == "soak"
    return settings(
        max_examples=examples * (SOAK_FACTOR if is_soak else 1),
        stateful_step_count=steps,
        derandomize=not is_soak,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
