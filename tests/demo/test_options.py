"""Settings that cannot work are refused with a sentence."""

import msgspec
import pytest

from liferaft.demo.options import DemoOptions, checked
from liferaft.errors import ConfigurationError
from liferaft.link.leak import Leak


def test_the_defaults_are_those_of_the_readme() -> None:
    options = checked(DemoOptions())

    assert Leak(loss=0.1, delay_max=0.02, duplicate=0.02) == options.leak
    assert (3, 4) == (options.nodes, options.clients)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"nodes": 2}, "--nodes"),
        ({"nodes": 100}, "--nodes"),
        ({"duration": 1.0}, "--duration"),
        ({"duration": float("nan")}, "--duration"),
        ({"loss": 1.0}, "--loss"),
        ({"loss": -0.1}, "--loss"),
        ({"delay": -1.0}, "--delay"),
        ({"delay": 100.0}, "--delay"),
    ],
)
def test_a_setting_out_of_its_range_is_named(changes: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{named} is "):
        checked(msgspec.structs.replace(DemoOptions(), **changes))
