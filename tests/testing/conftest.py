"""The fixtures are the ones of this source, whichever liferaft is installed."""

from liferaft.testing import local_cluster, simulated_cluster

__all__ = ["local_cluster", "simulated_cluster"]
