"""A command's header and the client's bytes survive the log unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.errors import InvariantViolated
from liferaft.replicated.command import Command, CommandKind, pack, unpack


@given(
    session=st.binary(min_size=16, max_size=16),
    wall_now=st.floats(allow_nan=False),
    seed=st.integers(0, 2**64 - 1),
    frame=st.binary(),
)
def test_what_was_packed_is_unpacked(
    session: bytes, wall_now: float, seed: int, frame: bytes
) -> None:
    data = pack(CommandKind.CALL, session=session, wall_now=wall_now, seed=seed, frame=frame)

    assert Command(CommandKind.CALL, session, wall_now, seed, frame) == unpack(data)


def test_the_client_s_frame_is_the_very_end_of_the_entry() -> None:
    data = pack(CommandKind.CALL, session=b"s" * 16, wall_now=1.0, seed=2, frame=b"the frame")

    assert data.endswith(b"the frame")
    assert 33 == len(data) - len(b"the frame")


def test_an_entry_that_is_too_short_stops_the_node() -> None:
    with pytest.raises(InvariantViolated, match="3 bytes"):
        unpack(b"abc")
