"""For tests of classes that are to be replicated: two fixtures that pytest finds by itself.

`simulated_cluster` makes clusters in this process, on a virtual clock, network and disk, with every
safety property of Raft watched. `local_cluster` makes clusters of real processes on loopback. See
docs/testing.md.

pytest loads this module in every run, so importing it costs next to nothing: what a fixture needs
is imported when the fixture is asked for. Without pytest there are no fixtures, and no error.
"""

from importlib.util import find_spec

__all__: list[str] = []

if find_spec("pytest") is not None:
    from liferaft.testing.fixtures import local_cluster, simulated_cluster

    __all__ += ["local_cluster", "simulated_cluster"]
