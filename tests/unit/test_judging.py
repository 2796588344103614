"""What a judgement is made from: only what could be read."""

from __future__ import annotations

from exporter.analysis.judging import Judging
from exporter.analysis.thresholds import ThresholdTable
from tests.unit.looks import log, look, state


def test_what_can_not_be_read_does_not_stand_still() -> None:
    """The partition has no leader: its end is not known, the group's position is."""
    s, judging = state(), Judging("kafka", "s", ThresholdTable())
    statuses = []
    for at in range(0, 700, 10):
        end, position = (1_000 + at * 5, 900 + at * 4) if at < 200 else (None, 1_700)
        s.observe(look({"t": log((0, end))}, {"g": {"t": {0: position}}}), float(at))
        judging.judge(s, float(at), float(at))
        (subscription,) = s.subscriptions.values()
        statuses.append(subscription.judge.status)
    assert "stalled" not in statuses
    assert statuses[-1] == "unknown"
    assert subscription.judge.causes == ()
    assert subscription.judge.time_to_drain is None
