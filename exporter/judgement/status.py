"""The status of a subscription: one rule a status, the first that holds gives it.

All rules go by time, none by the number of commits, so that they hold at any cadence of commits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.judgement.evidence import Evidence
from exporter.judgement.repeats import RetryLoop
from exporter.judgement.thresholds import Thresholds
from exporter.model import Status

LEAST_GROWTH = 10
"""Messages; a backlog that grew by less did not grow."""
NOISE_SECONDS = 2.0
"""Seconds of production by which a backlog's low may differ from one while to the next."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A look, and what the looks before it say."""

    evidence: Evidence
    thresholds: Thresholds
    polls: int
    """How many there were, this one included."""
    still: float
    """Seconds for which messages have been waiting and the position has not moved."""
    waiting: bool
    """Whether there is something to process."""
    low: int | None
    """The smallest backlog over at least a commit interval; None where it was not seen for as long."""
    growth: int | None
    """Messages by which the backlog's low has been growing over the window; None where it has not."""
    loop: RetryLoop | None = None
    """Messages that fail again and again; None where there are none."""


def unknown(now: Situation) -> bool:
    """Too little history: one look, or a part of the subscription cannot be read."""
    evidence = now.evidence
    return (
        now.polls < 2  # noqa: PLR2004 - two looks
        or evidence.unreadable > 0
        or (evidence.lag is None and evidence.uncommitted is None)
    )


def uncommitted(now: Situation) -> bool:
    """Consumers read, messages are there, and no position is committed: the lag cannot be known."""
    evidence = now.evidence
    return bool(evidence.consumers) and not evidence.has_position and bool(evidence.uncommitted)


def past_end(now: Situation) -> bool:
    """A position is past the log's end: new messages up to there will be skipped."""
    return now.evidence.past_end > 0


def rewound(now: Situation) -> bool:
    """The position went back and has not regained where it was."""
    return now.evidence.is_rewound


def abandoned(now: Situation) -> bool:
    """The group has members, none of them reads this destination, and its position stands still."""
    return now.evidence.read_by_nobody and (now.still > 0 or not now.waiting)


def stopped(now: Situation) -> bool:
    """Messages wait, nobody is there to read them although somebody should, and for the stop time nothing has moved."""
    return _stands_still(now) and now.evidence.consumers == 0 and now.thresholds.consumers_expected


def stalled(now: Situation) -> bool:
    """Messages wait, consumers are there (or are expected, where nobody can say), and for the stop time nothing has moved."""
    consumers = now.evidence.consumers
    somebody = now.thresholds.consumers_expected if consumers is None else consumers > 0
    return _stands_still(now) and somebody and not now.evidence.uncounted


def lagging(now: Situation) -> bool:
    """Past a threshold: of messages at the backlog's low, or of age beyond what the cadence of commits explains.

    What waits on partitions that no consumer is assigned is certain to wait.
    """
    most, oldest = now.thresholds.lag_messages, now.thresholds.lag_seconds
    if most is not None and (now.low or 0) + now.evidence.unassigned > most:
        return True
    age = now.evidence.age
    return oldest is not None and age is not None and age > oldest + now.evidence.commit_interval


def falling_behind(now: Situation) -> bool:
    """The backlog's low has grown over the window by more than noise, and less was consumed than produced."""
    ratio, evidence = now.thresholds.consume_ratio, now.evidence
    produced, consumed = evidence.produced_rate, evidence.consumed_rate
    if ratio is None or now.growth is None or produced is None or consumed is None:
        return False
    noise = produced * max(NOISE_SECONDS, evidence.commit_interval / 2)
    return now.growth > max(noise, LEAST_GROWTH) and consumed < ratio * produced


def unmeasured(now: Situation) -> bool:
    """Messages wait, no message was seen to leave for the stop time, and the broker counts no consumption.

    They may still move: what comes in can hide what leaves.
    """
    return now.evidence.uncounted and _stands_still(now)


def retry_loop(now: Situation) -> bool:
    """The same messages fail again and again, be they waiting or held back for another try."""
    return now.loop is not None


def _stands_still(now: Situation) -> bool:
    return (
        now.thresholds.stop_seconds is not None and now.waiting and now.still >= now.evidence.stop
    )


RULES: tuple[tuple[Status, Callable[[Situation], bool]], ...] = (
    ("unknown", unknown),
    ("uncommitted", uncommitted),
    ("past_end", past_end),
    ("rewound", rewound),
    ("abandoned", abandoned),
    ("stopped", stopped),
    ("stalled", stalled),
    ("lagging", lagging),
    ("falling_behind", falling_behind),
    ("retry_loop", retry_loop),
    ("unknown", unmeasured),
)


def status_of(now: Situation) -> Status:
    """Return the status by the rules alone, without the time for which it has to hold."""
    for status, holds in RULES:
        if holds(now):
            return status
    return "ok"
