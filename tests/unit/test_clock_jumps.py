"""A system clock that jumps a day does not affect statuses, causes and rates."""

from __future__ import annotations

import pytest

from tests.unit.play import EPOCH, Play, between, steady

TURN = 900.0
"""The consumers leave."""
JUMP = 1_200.0
DAY = 86_400.0


@pytest.mark.parametrize("days", [1, -1])
def test_a_day_s_jump_changes_no_status_and_no_cause_and_their_times_follow_the_clock(
    days: int,
) -> None:
    def play(jump: float) -> Play:
        return Play(
            steady(40),
            between(TURN, 9_999, 13, 60),
            consumers=lambda at: 4 if at < TURN else 1,
            more=lambda at: {"clock": EPOCH + at + (jump if at >= JUMP else 0.0)},
        )

    usual, jumped = play(0.0), play(days * DAY)
    expected, found = usual.run(1_800), jumped.run(1_800)
    assert [(s.status, s.cause, s.drain) for s in found] == [
        (s.status, s.cause, s.drain) for s in expected
    ]
    assert found[-1].causes[0].evidence == expected[-1].causes[0].evidence
    assert found[-1].cause == "too_few_consumers"
    assert usual.judge.since is not None
    assert jumped.judge.since == usual.judge.since + days * DAY


def test_a_clock_that_is_set_right_by_little_changes_no_time_that_was_noted() -> None:
    def since(seconds: float) -> float | None:
        play = Play(steady(20), steady(50), more=lambda at: {"clock": EPOCH + at + at / 10_000})
        play.run(seconds)
        return play.judge.since

    assert since(600) is not None
    assert since(600) == since(1_800)
