"""Situations of Burrow's evaluator, replayed with its rules and with ours.

Checks what each of the two reports, and which one reports it sooner. Burrow's rules are those of
its documentation ("Consumer Lag Evaluation Rules"): they use the last ten commits of a partition.
This test prints the table in docs/alerting.md (`pytest -s`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pytest

from exporter.judgement.thresholds import DEFAULTS
from tests.unit.play import Play, Said, between, changes, first, steady

Verdict = Literal["OK", "WARN", "STALL", "STOP", "REWIND"]
WINDOW = 10
"""Number of commits that Burrow keeps."""


REFRESHES = 10
"""Number of log ends that Burrow keeps, one every ten seconds, like our polls."""


def burrow(commits: Sequence[tuple[float, int, int]], ends: Sequence[int], now: float) -> Verdict:
    """Judge by the last ten commits (time, offset, lag) and the last log ends."""
    kept = [commit for commit in commits if commit[0] <= now][-WINDOW:]
    if not kept or ends[-1] <= kept[-1][1]:
        return "OK"  # no message waits
    offsets = [offset for _, offset, _ in kept]
    lags = [lag for _, _, lag in kept]
    recently_at_the_end = offsets[-1] >= ends[-REFRESHES:][0]
    if now - kept[-1][0] > kept[-1][0] - kept[0][0] and not recently_at_the_end:
        return "STOP"
    if 0 in lags or len(kept) < WINDOW:
        return "OK"
    if any(after < before for before, after in itertools.pairwise(offsets)):
        return "REWIND"
    grows = all(after >= before for before, after in itertools.pairwise(lags))
    if len(set(offsets)) == 1 and grows:
        return "STALL"
    return "WARN" if grows else "OK"


@dataclass(frozen=True)
class Situation:
    """A situation, and what each of the two should report."""

    play: Play
    turn: float
    """When the fault begins. Before that, neither may report anything."""
    theirs: Verdict | None
    ours: str | None
    """What is reported in the end; None means that nothing is ever reported."""


PATIENT = replace(DEFAULTS, stop_seconds=900.0)
MANY = replace(DEFAULTS, lag_messages=1_000_000)


def situations() -> dict[str, Situation]:
    return {
        "caught up": Situation(Play(steady(20), steady(50)), 900, None, None),
        "slow, by a fifth": Situation(
            Play(steady(20), between(900, 9_999, 16, 50)), 900, "WARN", "lagging"
        ),
        "slow, and below its threshold": Situation(
            Play(steady(20), between(900, 9_999, 16, 50), thresholds=MANY),
            900,
            "WARN",
            "falling_behind",
        ),
        "stalled: it lives, and commits the same position": Situation(
            Play(steady(20), between(900, 9_999, 0, 50)), 900, "STALL", "stalled"
        ),
        "the same, with `offsets: stream`": Situation(
            Play(steady(20), between(900, 9_999, 0, 50), follows_commits=True),
            900,
            "STALL",
            "stalled",
        ),
        "stopped: it is gone": Situation(
            Play(
                steady(20),
                between(900, 9_999, 0, 50),
                consumers=lambda at: int(at < 900),
                alive=lambda at: at < 900,
            ),
            900,
            "STOP",
            "stopped",
        ),
        "an idle topic": Situation(Play(between(0, 300, 20, 0), steady(50)), 900, None, None),
        "an idle topic, and two messages that nobody takes": Situation(
            Play(
                lambda at: 20 if at < 300 else (0.2 if 900 <= at < 910 else 0),
                between(900, 9_999, 0, 50),
            ),
            900,
            "STALL",
            "stalled",
        ),
        "a commit every ten minutes": Situation(
            Play(steady(1), steady(50), 600.0, thresholds=PATIENT), 2_000, None, None
        ),
        "a burst that drains": Situation(
            Play(between(900, 920, 300, 20), steady(250)), 900, None, None
        ),
        "a deploy of two minutes": Situation(
            Play(
                steady(5),
                between(900, 1_020, 0, 100),
                consumers=lambda at: int(not 900 <= at < 1_020),
                alive=lambda at: not 900 <= at < 1_020,
            ),
            900,
            None,
            None,
        ),
        "a load that swings, up to what the consumer can take": Situation(
            Play(lambda at: 100 + 80 * math.sin(at / 10), steady(180), 1.0),
            60,
            None,
            None,
        ),
        "a large lag that neither grows nor shrinks": Situation(
            Play(steady(20), steady(20), starts_with=50_000), 0, "WARN", "lagging"
        ),
    }


def verdicts(play: Play, said: Sequence[Said]) -> list[tuple[float, Verdict]]:
    """Return what Burrow would report at each poll."""
    ends = [play.starts_with + each.produced for each in said]
    return [
        (each.at, burrow(play.commits, ends[: number + 1], each.at))
        for number, each in enumerate(said)
    ]


@pytest.mark.parametrize("name", situations())
def test_the_same_or_better_is_said(name: str) -> None:
    situation = situations()[name]
    until = situation.turn + 3_000
    said = situation.play.run(until)
    theirs = verdicts(situation.play, said)
    at = first(said, situation.ours) if situation.ours else None  # type: ignore[arg-type]
    alarms = [
        (when, verdict) for when, verdict in theirs if verdict != "OK" and when >= situation.turn
    ]
    right = [when for when, verdict in alarms if verdict == situation.theirs]
    wrong = {verdict for _, verdict in alarms if verdict != situation.theirs}
    print(  # noqa: T201 - the table of the documents
        f"| {name} | {_after(right[0] if right else None, situation)}"
        f"{'; ' + ', '.join(sorted(wrong)) + ' for some time' if wrong else ''} "
        f"| {_after(at, situation, situation.ours)} |"
    )
    if situation.ours is None:
        others = {status for when, status in changes(said) if when >= situation.turn}
        assert others <= {"ok"}
    else:
        assert at is not None
        assert at >= situation.turn
        assert said[-1].status == situation.ours


def _after(at: float | None, situation: Situation, what: str | None = None) -> str:
    if at is None:
        return "nothing" if (what or situation.theirs) is None else f"never {situation.theirs}"
    return f"{what or situation.theirs} after {at - situation.turn:.0f} s"
