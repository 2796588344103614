"""Since when consumers have committed the same offsets again."""

from __future__ import annotations

from exporter.judgement.repeated_commits import SILENCE_SECONDS, RepeatedCommits


def test_one_or_two_polls_are_no_sign() -> None:
    repeats = RepeatedCommits(0.0)
    repeats.observe(10.0)
    assert repeats.seconds(10.0) is None
    repeats.observe(20.0)
    assert repeats.seconds(20.0) == 20.0


def test_after_a_silence_it_begins_again() -> None:
    repeats = RepeatedCommits(0.0)
    for at in (10.0, 20.0, 3_610.0):
        repeats.observe(at)
    assert repeats.seconds(3_610.0) is None
    for at in (3_620.0, 3_630.0):
        repeats.observe(at)
    assert repeats.seconds(3_630.0) == 20.0
    assert repeats.seconds(3_630.0 + SILENCE_SECONDS + 1.0) is None
