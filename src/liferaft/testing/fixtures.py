"""The fixtures themselves. At the top, nothing but pytest is imported: see the package."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from liferaft.testing.local import LocalClusterFactory
    from liferaft.testing.proxy import LeakyProxyFactory
    from liferaft.testing.simulated import SimulatedClusterFactory


@pytest.fixture
def simulated_cluster() -> "Iterator[SimulatedClusterFactory]":
    """Give what makes simulated clusters.

    After `cluster = simulated_cluster(Bank, size=3, seed=7)` its nodes run. The test is a plain
    `def`; what must be awaited goes through `cluster.run`. When the test ends, the cluster is
    stopped, and a promise that was broken fails the test.
    """
    from liferaft.testing.simulated import SimulatedClusterFactory  # noqa: PLC0415 - not at load

    with ExitStack() as stack:
        yield SimulatedClusterFactory(stack)


@pytest.fixture
def local_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[LocalClusterFactory]":
    """Give what makes clusters of real processes.

    After `cluster = local_cluster(Bank, size=3)` its nodes listen. Their data and logs are in the
    test's `tmp_path`. When the test ends, so do they.
    """
    from liferaft.testing.local import LocalClusterFactory  # noqa: PLC0415 - not at load

    # The nodes are to find the test's own modules where the test finds them.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    with ExitStack() as stack:
        yield LocalClusterFactory(stack, tmp_path)


@pytest.fixture
def leaky_proxy() -> "Iterator[LeakyProxyFactory]":
    """Give what makes proxies that delay, throttle, cut and reset, before any TCP server.

    After `proxy = leaky_proxy("127.0.0.1:5432", delay=0.1)` clients connect to `proxy.address`.
    """
    from liferaft.testing.proxy import LeakyProxyFactory  # noqa: PLC0415 - not at load

    with ExitStack() as stack:
        yield LeakyProxyFactory(stack)
