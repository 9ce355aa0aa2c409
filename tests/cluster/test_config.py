"""A node's settings are checked before anything is started, in sentences that say what to do."""

import pytest

from liferaft.cluster.config import NodeConfig, checked, parse_peers
from liferaft.errors import AddressError, ConfigurationError
from liferaft.raft.types import Configuration

THREE = {"n1": "127.0.0.1:7401", "n3": "127.0.0.1:7403", "n2": "127.0.0.1:7402"}


def test_peers_are_read_as_users_write_them() -> None:
    assert THREE == parse_peers("n1=127.0.0.1:7401, n3=127.0.0.1:7403,n2=127.0.0.1:7402")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no peers are named"),
        ("n1", "'n1' is not of the form NODE=HOST:PORT"),
        ("=127.0.0.1:1", "not of the form"),
        ("n1=127.0.0.1:1,n1=127.0.0.1:2", "node 'n1' is named twice"),
    ],
)
def test_unreadable_peers_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_peers(text)


def test_every_peer_votes_in_the_first_configuration() -> None:
    config = checked(NodeConfig(node_id="n1", peers=THREE, data="d"))

    assert Configuration(voters=("n1", "n2", "n3")) == config.configuration


def test_a_node_listens_at_its_own_address_unless_told_otherwise() -> None:
    config = NodeConfig(node_id="n2", peers=THREE, data="d")

    assert "127.0.0.1:7402" == config.address


def test_a_node_that_is_not_among_its_peers_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"node 'n9' is not among the peers \(n1, n2, n3\)"
    ):
        checked(NodeConfig(node_id="n9", peers=THREE, data="d"))


def test_two_peers_at_one_address_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="the same address"):
        checked(NodeConfig(node_id="a", peers={"a": "h:1", "b": "h:1"}, data="d"))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(AddressError):
        checked(NodeConfig(node_id="a", peers={"a": "nowhere"}, data="d"))


@pytest.mark.parametrize("segment_bytes", [0, 4095, 2**40])
def test_a_segment_size_that_no_disk_likes_is_refused(segment_bytes: int) -> None:
    config = NodeConfig(node_id="n1", peers=THREE, data="d", segment_bytes=segment_bytes)

    with pytest.raises(ConfigurationError, match=f"segment_bytes is {segment_bytes}: give 4096"):
        checked(config)


@pytest.mark.parametrize("wait_max", [0.0, -1.0, float("inf"), float("nan")])
def test_a_wait_that_is_none_or_has_no_end_is_refused(wait_max: float) -> None:
    config = NodeConfig(node_id="n1", peers=THREE, data="d", wait_max=wait_max)

    with pytest.raises(ConfigurationError, match="wait_max must be a positive number of seconds"):
        checked(config)
