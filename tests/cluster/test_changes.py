"""Who waits for a change of the members or of the leader learns how it went."""

import pytest

from liferaft.cluster.changes import Changes
from liferaft.errors import ChangeRefused, OutcomeUnknown
from liferaft.raft.effects import (
    ChangeAccepted,
    ChangeRejected,
    ConfigurationChanged,
    TransferEnded,
)
from liferaft.raft.types import Configuration

JOINT = Configuration(voters=("a", "b"), voters_outgoing=("a",))
FINAL = Configuration(voters=("a", "b"))


async def test_a_change_is_done_when_what_ends_its_joint_phase_is_committed() -> None:
    changes = Changes()
    change = changes.ask_change()
    changes.accepted(ChangeAccepted(1, 5))
    for told in (
        ConfigurationChanged(5, JOINT, is_committed=True),
        ConfigurationChanged(6, FINAL, is_committed=False),
    ):
        changes.configuration_changed(told)
        assert not change.done()
    changes.configuration_changed(ConfigurationChanged(6, FINAL, is_committed=True))

    await change


async def test_what_was_committed_before_ends_nothing() -> None:
    changes = Changes()
    change = changes.ask_change()
    changes.accepted(ChangeAccepted(1, 5))
    changes.configuration_changed(ConfigurationChanged(4, FINAL, is_committed=True))

    assert not change.done()


async def test_a_refusal_says_who_leads() -> None:
    changes = Changes()
    change = changes.ask_change()
    changes.rejected(ChangeRejected("b", "this node does not lead"))

    with pytest.raises(ChangeRefused, match="this node does not lead; b does"):
        await change


async def test_after_the_leadership_the_outcome_is_unknown() -> None:
    changes = Changes()
    change = changes.ask_change()
    changes.accepted(ChangeAccepted(1, 5))
    changes.lose_change()

    with pytest.raises(OutcomeUnknown):
        await change


async def test_a_transfer_that_replaces_another_does_not_end_with_it() -> None:
    changes = Changes()
    first, second = changes.ask_transfer("b"), changes.ask_transfer("c")
    changes.transfer_ended(TransferEnded("b", "given up for a transfer to c"))
    assert not second.done()
    changes.transfer_ended(TransferEnded("c", None))

    with pytest.raises(ChangeRefused, match="given up"):
        await first
    await second


async def test_a_node_that_stops_leaves_nobody_waiting() -> None:
    changes = Changes()
    waiting = [changes.ask_change(), changes.ask_transfer(None)]
    changes.lose_all()

    for each in waiting:
        with pytest.raises(OutcomeUnknown):
            await each
