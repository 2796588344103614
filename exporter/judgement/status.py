"""The status of a subscription: the first rule that matches decides.

All rules use time, none the number of commits, so that they apply to groups that commit rarely,
too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.judgement.evidence import Evidence
from exporter.judgement.repeats import RetryLoop
from exporter.judgement.thresholds import Thresholds
from exporter.model import Status

LEAST_GROWTH = 10
"""A backlog that grew by no more messages than this did not grow."""
ALIVE = 0.2
"""Consumers that commit the same offset for this fraction of the stop time have stalled."""
LONGER = 2.0
"""They have not while the position stays still for less than this multiple of its longest recent
gap."""
NOISE_SECONDS = 2.0
"""The low of a backlog may vary by what is produced in so many seconds."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts of the present poll, and what earlier polls add to them."""

    evidence: Evidence
    thresholds: Thresholds
    polls: int
    """Number of polls so far, this one included."""
    still: float
    """Seconds for which messages have waited and the position has not moved."""
    waiting: bool
    """Whether messages wait."""
    low: int | None
    """The smallest backlog over at least a commit interval; None if observed for a shorter time."""
    growth: int | None
    """Messages by which the backlog's low grew over the window; None if not throughout."""
    dormant: bool = False
    """Whether it had no consumers and did not move since before the exporter first saw it."""
    loop: RetryLoop | None = None
    """Messages that fail repeatedly; None if there are none."""


def unknown(now: Situation) -> bool:
    """There was only one poll, or a partition of the subscription cannot be read."""
    evidence = now.evidence
    return (
        now.polls < 2  # noqa: PLR2004 - two polls
        or evidence.unreadable > 0
        or (evidence.lag is None and evidence.uncommitted is None)
    )


def uncommitted(now: Situation) -> bool:
    """Consumers read, there are messages, and no offset is committed: the lag is unknown."""
    evidence = now.evidence
    return bool(evidence.consumers) and not evidence.has_position and bool(evidence.uncommitted)


def dormant(now: Situation) -> bool:
    """It was dead before the exporter first saw it, and still is: known, and no news.

    A queue that is not meant to have consumers is never dead.
    """
    return now.dormant and now.thresholds.consumers_expected


def past_end(now: Situation) -> bool:
    """A committed offset is past the log end: new messages up to it will be skipped."""
    return now.evidence.past_end > 0


def rewound(now: Situation) -> bool:
    """The offset moved back and has not reached its earlier value yet."""
    return now.evidence.is_rewound


def abandoned(now: Situation) -> bool:
    """The group has members, none of them reads this destination, and its offset does not move."""
    return now.evidence.reads_elsewhere and (now.still > 0 or not now.waiting)


def stopped(now: Situation) -> bool:
    """Messages wait, expected consumers are missing, and nothing moved for the stop time."""
    return _stands_still(now) and now.evidence.consumers == 0 and now.thresholds.consumers_expected


def stalled(now: Situation) -> bool:
    """Messages wait, there are consumers, and nothing moved for the stop time.

    Consumers that commit the same offset again and again have stalled earlier: they are alive. If
    the number of consumers is unknown, the threshold `consumers_expected` decides.
    """
    if _is_stuck(now):
        return True
    consumers = now.evidence.consumers
    expected = now.thresholds.consumers_expected if consumers is None else consumers > 0
    return _stands_still(now) and expected and not now.evidence.uncounted


def lagging(now: Situation) -> bool:
    """The backlog's low, or the age less the commit interval, is above a threshold.

    Messages on partitions that are not assigned to a consumer are always counted.
    """
    most, oldest = now.thresholds.lag_messages, now.thresholds.lag_seconds
    if most is not None and (now.low or 0) + now.evidence.unassigned > most:
        return True
    age = now.evidence.age
    return oldest is not None and age is not None and age > oldest + now.evidence.commit_interval


def falling_behind(now: Situation) -> bool:
    """The backlog's low grew over the window by more than noise; consumption was too slow."""
    ratio, evidence = now.thresholds.consume_ratio, now.evidence
    produced, consumed = evidence.produced_rate, evidence.consumed_rate
    if ratio is None or now.growth is None or produced is None or consumed is None:
        return False
    noise = produced * max(NOISE_SECONDS, evidence.commit_interval / 2)
    return now.growth > max(noise, LEAST_GROWTH) and consumed < ratio * produced


def unmeasured(now: Situation) -> bool:
    """Messages wait, consumption is not counted, and none was seen to leave for the stop time.

    Messages may still be processed: new messages can hide that others leave.
    """
    return now.evidence.uncounted and _stands_still(now)


def retry_loop(now: Situation) -> bool:
    """The same messages fail repeatedly, whether they wait or are held back for another attempt."""
    return now.loop is not None


def _stands_still(now: Situation) -> bool:
    return (
        now.thresholds.stop_seconds is not None and now.waiting and now.still >= now.evidence.stop
    )


def _is_stuck(now: Situation) -> bool:
    """Return whether consumers commit, but no offset has moved for longer than usual.

    What is usual must have been observed.
    """
    evidence = now.evidence
    alive, usual = evidence.repeated_for, evidence.usual_gap
    if alive is None or not usual or evidence.consumers == 0:
        return False
    if not now.waiting or now.thresholds.stop_seconds is None:
        return False
    return alive >= max(ALIVE * evidence.stop, LONGER * usual)


RULES: tuple[tuple[Status, Callable[[Situation], bool]], ...] = (
    ("unknown", unknown),
    ("uncommitted", uncommitted),
    ("dormant", dormant),
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
    """Return the status of this poll by the rules, without hysteresis."""
    for status, matches in RULES:
        if matches(now):
            return status
    return "ok"
