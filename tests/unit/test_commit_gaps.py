"""How long a healthy position stays still."""

from __future__ import annotations

import pytest

from exporter.judgement.commit_gaps import RECENT, STOP_SECONDS, CommitGaps

EVERY = 10.0
"""Seconds between two polls."""


def after(polls: str, gaps: CommitGaps | None = None, begin: float = 0.0) -> CommitGaps:
    """Poll every ten seconds: `m` moved, `.` still while messages wait, `0` no message waits."""
    gaps = gaps or CommitGaps()
    for index, seen in enumerate(polls):
        gaps.observe(begin + EVERY * index, moved=seen == "m", waiting=seen != "0")
    return gaps


@pytest.mark.parametrize(
    ("case", "polls", "longest"),
    [
        ("nothing was seen", "", 0.0),
        ("one poll", ".", 0.0),
        ("it never moved", ".......", 0.0),
        ("caught up all along", "000000", 0.0),
        ("it moves with each poll", "mmmmmm", 10.0),
        ("it moves with every third poll", "m..m..m", 30.0),
        ("the longest counts", "m.m...mmm", 40.0),
        ("a gap that did not end yet is none", "mm.........", 10.0),
        ("waiting for messages is no gap", "m00000000m", 10.0),
        ("it counts from the first poll with something to do", "m000..m", 30.0),
        ("the first movement counts from the first poll", "...m", 30.0),
    ],
)
def test_the_longest_gap_between_movements(case: str, polls: str, longest: float) -> None:
    assert (case, after(polls).longest) == (case, longest)


def test_a_stop_is_no_longer_than_the_stop_time() -> None:
    assert after("m" + 100 * "." + "m").longest == STOP_SECONDS


def test_a_long_gap_is_remembered_for_half_of_the_recent_movements_at_least() -> None:
    gaps = after("m......m")
    since = 80.0
    remembered = 1
    while gaps.longest == 70.0:
        gaps.observe(since, moved=True, waiting=True)
        since += EVERY
        remembered += 1
        assert remembered <= RECENT + 1
    assert remembered > RECENT // 2
    assert gaps.longest == EVERY


def test_a_gap_is_forgotten_by_movements_and_not_by_time() -> None:
    gaps = after("m......m")
    assert after("0" * 1_000, gaps, begin=80.0).longest == 70.0
