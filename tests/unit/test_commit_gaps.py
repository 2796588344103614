"""How long a healthy position stays still."""

from __future__ import annotations

from itertools import pairwise

import pytest

from exporter.judgement.commit_gaps import RECENT, STOP_SECONDS, CommitGaps
from exporter.model import CommitSpan

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


COMMITTER = 1_790_000_000.0
"""The committer's clock at second 0."""


def timed(*polls: tuple[float, ...] | str) -> float:
    """Poll every ten seconds. A poll is the seconds of commits since the last one, or as `after`.

    Messages wait all the time.
    """
    gaps = CommitGaps()
    for index, seen in enumerate(polls):
        now = EVERY * index
        if isinstance(seen, str):
            gaps.observe(now, moved=seen == "m", waiting=seen != "0")
            continue
        between = [after - before for before, after in pairwise(seen)]
        span = CommitSpan(COMMITTER + seen[0], COMMITTER + seen[-1], max(between, default=0.0))
        gaps.observe(now, moved=True, waiting=True, commits=span)
    return gaps.longest


@pytest.mark.parametrize(
    ("case", "polls", "longest"),
    [
        ("commits every five seconds", [".", (3, 8), (13, 18), (23, 28)], 5.0),
        ("the longest gap within one poll", [(-4, -3), (1, 8), (9, 10)], 7.0),
        ("the longest gap from poll to poll", [(-9, -6), (2, 4), (11, 12)], 8.0),
        ("a commit every 25 s", [(-1,), ".", ".", (24,), ".", (49,)], 25.0),
        ("the first commit after a pause: at most this long", ["0", (7, 9)], 8.0),
        ("times are unknown for one poll", [(-1,), "m", (19,)], 10.0),
    ],
)
def test_times_of_commits_make_gaps_exact(
    case: str, polls: list[tuple[float, ...] | str], longest: float
) -> None:
    assert (case, timed(*polls)) == (case, longest)


def test_a_clock_of_the_committer_that_is_wrong_changes_nothing() -> None:
    """Only differences of its times count."""
    assert timed((3 - 86_400, 8 - 86_400), (13 - 86_400,)) == 5.0


def test_a_gap_is_usual_if_its_beginning_was_observed() -> None:
    """The first gap began before the first poll, at a time that is unknown."""
    assert after("..m").usual == 0.0
    assert after("..m.m").usual == 20.0
    assert after("0.m").usual == 20.0


def test_another_clock_makes_no_gap_longer_than_the_polls_allow() -> None:
    """The coordinator moves to a broker whose clock is an hour ahead."""
    assert timed((-1,), (9,), (3_619,), (3_629,)) <= 2 * EVERY
