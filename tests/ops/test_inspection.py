"""When the nodes may be compared."""

import msgspec
import pytest

from liferaft.cluster.admin import NodeStatus
from liferaft.ops.inspection import have_caught_up

DONE = NodeStatus(
    node_id="n1",
    cluster_id="liferaft",
    role="follower",
    current_term=1,
    leader="n2",
    commit_index=9,
    applied_index=9,
    last_index=9,
)


def test_nodes_that_applied_all_that_any_log_holds_have_caught_up() -> None:
    assert have_caught_up([DONE, DONE, DONE], 3)


@pytest.mark.parametrize("late", [{"applied_index": 8}, {"last_index": 10}])
def test_a_node_that_has_more_to_apply_has_not(late: dict[str, int]) -> None:
    assert not have_caught_up([DONE, DONE, msgspec.structs.replace(DONE, **late)], 3)


def test_a_node_that_is_silent_has_not() -> None:
    assert not have_caught_up([DONE, DONE], 3)
