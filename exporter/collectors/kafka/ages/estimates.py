"""The required accuracy of an age, and estimates of a record's time from the lookups around it."""

from __future__ import annotations

from typing import NamedTuple

from exporter.collectors.kafka.ages.time_index import Bracket

DISORDER_MS = 200
"""Milliseconds by which timestamps of one partition may decrease and still count as ordered.

Producers stamp a record before they send its batch, so the records of several producers are never
exactly in order.
"""
SHOWN = 4.0
"""An age is shown if its error is at most this many times the tolerance."""


class AgeTolerance(NamedTuple):
    """The required accuracy of an age: the larger of the two limits applies."""

    seconds: float
    ratio: float
    """Fraction of the age."""

    def milliseconds(self, age_ms: float) -> float:
        """Return the tolerated error in milliseconds for an age in milliseconds."""
        return max(self.seconds * 1000, self.ratio * age_ms)


class Estimate(NamedTuple):
    """When the first record at or after an offset was enqueued."""

    time: float
    """Unix time in seconds; inf where there is no such record."""
    error: float
    """Upper bound in seconds on the error of that time; negative if it is not known."""
    read: bool
    """Whether the record itself was read."""


def estimate_inside(
    bracket: Bracket, at_ms: int, tolerance: AgeTolerance, *, proven: bool
) -> Estimate | None:
    """Return the time of the record inside a bracket; None if the bracket is too wide.

    `proven` is True if timestamps there are known to be in order. Otherwise the error is unknown.
    """
    low = bracket.low
    if low is None:
        return None
    if bracket.exact:
        return Estimate(low / 1000, 0.0 if proven else -1.0, read=False)
    slack = DISORDER_MS if proven else 0
    high = max(at_ms if bracket.below is None else bracket.below - 1, low)
    error = (high - low + slack) / 2
    middle = (high + low - slack) / 2
    if error > SHOWN * tolerance.milliseconds(at_ms - middle):
        return None
    return Estimate(middle / 1000, error / 1000 if proven else -1.0, read=False)


def estimate_between(bracket: Bracket, at_ms: int, tolerance: AgeTolerance) -> Estimate | None:
    """Return the time of a record without a timestamp, estimated from its neighbours.

    None if the neighbours' timestamps are too far apart.
    """
    low = bracket.low
    if low is None:
        return None
    high = max(at_ms if bracket.after is None else bracket.after, low)
    middle, error = (high + low) / 2, (high - low) / 2
    if error > SHOWN * tolerance.milliseconds(at_ms - middle):
        return None
    return Estimate(middle / 1000, -1.0, read=False)
