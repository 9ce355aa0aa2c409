"""What one node must know to start: who it is, who its peers are, where its data lies."""

import math
from collections.abc import Mapping

import msgspec

from liferaft.cluster.divergence import COMPARE_INTERVAL
from liferaft.cluster.snapshot_policy import SnapshotPolicy, checked_policy
from liferaft.errors import ConfigurationError
from liferaft.link.address import parse_address
from liferaft.link.tls import Tls
from liferaft.raft.config import RaftConfig
from liferaft.raft.types import Configuration, NodeId
from liferaft.storage.wal import SEGMENT_BYTES

CLUSTER_ID_DEFAULT = "liferaft"

SEGMENT_BYTES_MIN = 4 * 1024
"""One block of most file systems."""

SEGMENT_BYTES_MAX = 1024 * 1024 * 1024
"""A segment is preallocated, and read whole when the node starts."""


class NodeConfig(msgspec.Struct, frozen=True):
    """The settings of one node.

    `peers` maps every node of the first configuration, this one included, to the address at which
    the others and the clients reach it. One that `is_joining` is none of the first configuration:
    it waits to be added to a cluster that runs, some nodes of which `peers` names beside it.
    `listen` is where this node listens, its own address in
    `peers` unless said otherwise. `data` is its directory, which it shares with nobody; its log is
    made of files of `segment_bytes`, and `snapshots` says when what they hold is written down
    as one state. Commands that would wait for longer than `wait_max` seconds are refused as
    overload; None chooses that by the election timeout. After each `compare_interval` seconds of
    the log's time the replicas compare their states; the same on every node, and 0 for never.

    With `tls` nodes and clients talk encrypted, and show each other certificates where an authority
    is given; without, a node listens beyond this machine only if `is_insecure`. `tokens` is the
    file of the tokens that the node takes (`liferaft.Tokens.from_file`), `token` the file with the
    node's own, which must allow the role "peer" at the others.
    """

    node_id: NodeId
    peers: dict[NodeId, str]
    data: str
    listen: str = ""
    is_joining: bool = False
    cluster_id: str = CLUSTER_ID_DEFAULT
    raft: RaftConfig = msgspec.field(default_factory=RaftConfig)
    segment_bytes: int = SEGMENT_BYTES
    snapshots: SnapshotPolicy = msgspec.field(default_factory=SnapshotPolicy)
    wait_max: float | None = None
    compare_interval: float = COMPARE_INTERVAL
    tls: Tls | None = None
    is_insecure: bool = False
    tokens: str = ""
    token: str = ""

    @property
    def address(self) -> str:
        """Where this node listens."""
        return self.listen or self.peers[self.node_id]

    @property
    def configuration(self) -> Configuration:
        """The first configuration: every node in `peers` votes; nobody, for one that joins."""
        return Configuration(voters=() if self.is_joining else tuple(sorted(self.peers)))


def checked(config: NodeConfig) -> NodeConfig:
    """Return `config` as it is, or raise `ConfigurationError` or `AddressError`."""
    if config.node_id not in config.peers:
        known = ", ".join(sorted(config.peers)) or "nobody"
        raise ConfigurationError(
            f"node {config.node_id!r} is not among the peers ({known}): "
            "name every node of the cluster, this one included"
        )
    if not SEGMENT_BYTES_MIN <= config.segment_bytes <= SEGMENT_BYTES_MAX:
        raise ConfigurationError(
            f"segment_bytes is {config.segment_bytes}: give {SEGMENT_BYTES_MIN} to "
            f"{SEGMENT_BYTES_MAX}"
        )
    checked_policy(config.snapshots)
    wait_max = config.wait_max
    if wait_max is not None and not (math.isfinite(wait_max) and wait_max > 0):
        raise ConfigurationError(f"wait_max must be a positive number of seconds, not {wait_max}")
    if not 0 <= config.compare_interval < math.inf:
        raise ConfigurationError(
            f"compare_interval is {config.compare_interval}: give seconds, or 0 for never"
        )
    addresses = [str(parse_address(address)) for address in config.peers.values()]
    if len(set(addresses)) != len(addresses):
        raise ConfigurationError("two peers have the same address: give each node its own")
    parse_address(config.address)
    return config


def parse_peers(text: str) -> Mapping[NodeId, str]:
    """Return the nodes that `n1=host:port,n2=host:port` names, in that order.

    Raises `ConfigurationError` when it cannot be read.
    """
    peers: dict[NodeId, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        node_id, equals, address = part.partition("=")
        if not (node_id and equals and address):
            raise ConfigurationError(f"{part!r} is not of the form NODE=HOST:PORT")
        if node_id in peers:
            raise ConfigurationError(f"node {node_id!r} is named twice")
        peers[node_id] = address
    if not peers:
        raise ConfigurationError("no peers are named: give NODE=HOST:PORT for each node")
    return peers
