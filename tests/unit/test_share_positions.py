"""Positions of share groups: which records count as processed while others are produced."""

from __future__ import annotations

from exporter.collectors.kafka.group_protocol_client import ShareOffsets
from exporter.collectors.kafka.raw.share_offsets import UNKNOWN, SharePartition
from exporter.collectors.kafka.share_positions import Settled, SharePositions
from tests.support.observations import log


def settle(
    shares: SharePositions, start: int | None, lag: int | None, before: int | None, after: int
) -> Settled:
    """One poll: start and lag as the broker returns them, and the log end before and after."""
    offsets = ShareOffsets({"g": [SharePartition("t", 0, start, lag)]})
    ends = {} if before is None else {("t", 0): before}
    return shares.settle(offsets, ends, {"t": log((0, after))})


def position(found: Settled) -> int | None:
    return found.done["g"].offsets["t"][0]


def oldest(found: Settled) -> int | None:
    return found.oldest["g"].offsets["t"][0]


def test_processed_records_after_the_start_count() -> None:
    found = settle(SharePositions(), 10, 20, 40, 40)
    assert position(found) == 20


def test_records_produced_meanwhile_are_not_processed() -> None:
    """The broker counted 35 of 50 records; ten arrived before that, ten after it."""
    assert position(settle(SharePositions(), 10, 35, 40, 60)) == 10


def test_records_produced_meanwhile_do_not_move_the_position_back() -> None:
    shares = SharePositions()
    assert position(settle(shares, 10, 20, 40, 40)) == 20
    assert position(settle(shares, 10, 25, 40, 50)) == 20


def test_the_position_goes_back_after_an_offset_reset() -> None:
    shares = SharePositions()
    assert position(settle(shares, 30, 5, 40, 40)) == 35
    assert position(settle(shares, 0, 40, 40, 40)) == 0


def test_an_unknown_start_lag_or_end_gives_no_position() -> None:
    assert position(settle(SharePositions(), None, None, 40, 40)) is None
    assert position(settle(SharePositions(), 10, None, 40, 40)) is None
    assert position(settle(SharePositions(), 10, 20, None, 40)) is None
    assert settle(SharePositions(), UNKNOWN, None, 40, 40).done["g"].offsets == {}


def test_the_oldest_record_is_known_if_the_start_did_not_move_in_two_movements() -> None:
    """The start is stored as it was before an acknowledgement, so it may lag one behind."""
    shares = SharePositions()
    found = settle(shares, 10, 30, 40, 40)
    assert (oldest(found), found.vague) == (10, frozenset()), "nothing after it is done with"
    for produced in (45, 50, 55):
        found = settle(shares, 10, produced - 10, produced - 5, produced)
        assert oldest(found) == 10, "nothing moved for certain"
    found = settle(shares, 10, 20, 40, 40)
    assert (oldest(found), found.vague) == (20, frozenset({("g", "t")}))
    found = settle(shares, 10, 19, 40, 40)
    assert (oldest(found), found.vague) == (10, frozenset())
    found = settle(shares, 15, 19, 40, 40)
    assert (oldest(found), found.vague) == (21, frozenset({("g", "t")})), "the start moved"


def test_caught_up_is_not_vague() -> None:
    found = settle(SharePositions(), 10, 0, 40, 40)
    assert (position(found), found.vague) == (40, frozenset())
