"""Settings are checked where they come in."""

import pytest

from liferaft.errors import ConfigurationError
from liferaft.raft.config import RaftConfig, checked


def test_the_defaults_keep_their_own_rules() -> None:
    config = RaftConfig()

    assert config == checked(config)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_must_be_positive_and_finite(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="election_timeout must be a positive number"):
        checked(RaftConfig(election_timeout=seconds))


def test_a_limit_must_let_something_through() -> None:
    with pytest.raises(ConfigurationError, match="inflight_messages_max must be at least 1"):
        checked(RaftConfig(inflight_messages_max=0))


def test_one_lost_heartbeat_must_not_be_an_election() -> None:
    with pytest.raises(ConfigurationError, match="at least 2 times heartbeat_interval"):
        checked(RaftConfig(election_timeout=0.3, heartbeat_interval=0.2))


@pytest.mark.parametrize("name", ["inflight_bytes_max", "uncommitted_bytes_max"])
def test_a_full_message_must_fit_the_queues(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} 10 must not be below append_bytes_max"):
        checked(RaftConfig(**{name: 10}))
