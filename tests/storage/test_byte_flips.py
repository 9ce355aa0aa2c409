"""Every byte of closed segments, tail, hard states and identity flipped in turn. Traps 35 to 39."""

import msgspec
import pytest

from tests.storage.byte_flips import Lost, flip_all, flip_identity, make_specimens

RECORDS = 24
FLIPS = 12_000


@pytest.mark.slow
def test_every_flipped_byte_of_a_log_is_detected_or_harmless() -> None:
    """But for one window, which recovery.py tells: a last record that nothing vouches for yet."""
    closed, not_sealed = make_specimens(RECORDS)
    share = FLIPS // 2
    assert len(closed.files) > 5
    assert closed.size_bytes <= share
    assert not_sealed.size_bytes <= share
    sealed_tally, open_tally = flip_all(closed, share), flip_all(not_sealed, share)
    window_bytes = not_sealed.last_stop - not_sealed.last_start

    assert sealed_tally.flips >= share
    assert open_tally.flips >= share
    assert 0 == sealed_tally.window
    assert 0 < open_tally.window <= window_bytes * (open_tally.flips // not_sealed.size_bytes)
    assert sealed_tally.refused > sealed_tally.harmless


@pytest.mark.slow
def test_every_flipped_byte_of_the_identity_is_refused() -> None:
    tally = flip_identity()

    assert tally.flips == tally.refused > 1000


def test_a_start_that_finds_less_than_was_stored_is_lost() -> None:
    """The judge would say so: an entry that was stored is missing, and nothing is flipped there."""
    closed, _ = make_specimens(6)
    hard_state, entries = closed.held
    more = msgspec.structs.replace(closed, held=(hard_state, [*entries, entries[-1]]))

    with pytest.raises(Lost, match=f"and {len(entries)} entries"):
        flip_all(more, closed.size_bytes)
