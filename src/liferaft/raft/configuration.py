"""Who takes part, as pure functions on `Configuration`.

The configuration is fixed for now: what a core is given at its start is what it keeps.
"""

from liferaft.errors import ConfigurationError
from liferaft.raft.types import Configuration, NodeId


def checked(configuration: Configuration) -> Configuration:
    """Return `configuration` as it is; raises `ConfigurationError` when nobody could go by it."""
    if not configuration.voters:
        raise ConfigurationError("a configuration without voters can decide nothing")
    for name in ("voters", "voters_outgoing", "learners"):
        nodes: tuple[NodeId, ...] = getattr(configuration, name)
        if list(nodes) != sorted(set(nodes)):
            raise ConfigurationError(f"{name} must be sorted and without repeats, not {nodes}")
    both = set(configuration.learners) & (
        set(configuration.voters) | set(configuration.voters_outgoing)
    )
    if both:
        raise ConfigurationError(f"{', '.join(sorted(both))} cannot both vote and learn")
    return configuration


def members(configuration: Configuration) -> tuple[NodeId, ...]:
    """Return everyone who receives the log, sorted."""
    return tuple(
        sorted({*configuration.voters, *configuration.voters_outgoing, *configuration.learners})
    )


def is_voter(configuration: Configuration, node_id: NodeId) -> bool:
    """Return whether the node counts in either majority, and so may campaign."""
    return node_id in configuration.voters or node_id in configuration.voters_outgoing
