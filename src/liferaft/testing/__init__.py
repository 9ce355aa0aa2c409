"""For tests of distributed programs: fixtures that pytest finds by itself.

`simulated_cluster` makes clusters in this process, on a virtual clock, network and disk, with every
safety property of Raft watched. `local_cluster` makes clusters of real processes on loopback.
`leaky_proxy` makes a bad network before any TCP server. See docs/testing.md and docs/leaky.md.

pytest loads this module in every run, so importing it costs next to nothing: what a fixture needs
is imported when the fixture is asked for. Without pytest there are no fixtures, and no error.
"""

from importlib.util import find_spec

__all__: list[str] = []

if find_spec("pytest") is not None:
    from liferaft.testing.fixtures import leaky_proxy, local_cluster, simulated_cluster

    __all__ += ["leaky_proxy", "local_cluster", "simulated_cluster"]
