"""When retention will delete messages that are not read yet.

Units, each for one partition: `lag` in messages; `age`, of the oldest unread message, in seconds;
`produced` and `consumed` in messages a second. Plain numbers, because there are many partitions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.analysis.logs.subscription import LogSubscription
from exporter.model import FOREVER


def time_to_expiry(
    lag: int, age: float, produced: float, consumed: float, retention: float
) -> float:
    """Return the seconds until the oldest unread message is older than `retention` seconds.

    inf if it never will be. Assumes that the backlog's messages are spread evenly over its age.
    Then the age changes linearly from `age` to lag / consumed during the next lag / consumed
    seconds, in which the present backlog is read. After that it grows by 1 - consumed / produced
    seconds a second.
    """
    if age >= retention:
        return 0.0
    if not consumed:
        return retention - age
    turn = lag / consumed
    if turn >= retention:
        return (retention - age) / (1.0 - age / turn)
    if consumed >= produced:
        return math.inf
    return turn + (retention - turn) / (1.0 - consumed / produced)


def time_to_overflow(lag: int, produced: float, consumed: float, room: float) -> float:
    """Return the seconds until the backlog exceeds `room` messages; inf if it never will."""
    if lag >= room:
        return 0.0
    growth = produced - consumed
    return (room - lag) / growth if growth > 0 else math.inf


def time_to_loss(sub: LogSubscription, lags: Sequence[int | None]) -> float | None:
    """Return the seconds until retention deletes the subscription's first unread message.

    `lags` has the order of its partitions. inf if that never happens at the present rates; None
    if unknown. For retention by size, the room in messages comes from the mean size of the
    messages read, or from how many messages the log holds now. The larger one is used, because
    compressed messages take less space on disk.
    """
    retention = sub.topic.retention
    if retention is None or not lags or None in lags:
        return None
    if not any(lags) or retention == (None, None):
        return math.inf
    consumed = sub.consumed.rates[sub.consumed_slot]
    if consumed is None:
        return None
    if not consumed and retention.seconds is not None and retention.size is None:
        # Nothing else matters then. This is the quick way for most subscriptions of a large source.
        return _shown(_first_expiry_at_rest(sub, retention.seconds))
    produced = _produced(sub)
    if produced is None:
        return None
    # The consume rate is known only for all partitions together. Partitions without lag consume
    # what is produced there; the rest is split evenly among the others.
    consumed -= sum(rate for rate, lag in zip(produced, lags, strict=True) if not lag)
    consumed = max(consumed, 0.0) / sum(1 for lag in lags if lag)
    soonest: float | None = math.inf
    if retention.seconds is not None:
        soonest = _first_expiry(sub, lags, produced, consumed, retention.seconds)
    if retention.size is not None and soonest is not None:
        overflow = _first_overflow(sub, lags, produced, consumed, retention.size)
        soonest = None if overflow is None else min(soonest, overflow)
    return _shown(soonest)


def _shown(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    return round(seconds, 3) if seconds < FOREVER else math.inf


def _first_expiry_at_rest(sub: LogSubscription, retention: float) -> float | None:
    """Return `_first_expiry` if nothing is consumed."""
    oldest = sub.ages.largest()
    return None if oldest is None else max(retention - oldest, 0.0)


def _produced(sub: LogSubscription) -> list[float] | None:
    """Return messages produced a second by partition; None if one rate is unknown."""
    slots, rates = sub.topic.slots(), sub.topic.produced.rates
    partitions = sub.positions.partitions
    if partitions[-1] >= len(slots):
        return None
    found = [rate for partition in partitions if (rate := rates[slots[partition]]) is not None]
    return found if len(found) == len(partitions) else None


def _first_expiry(
    sub: LogSubscription,
    lags: Sequence[int | None],
    produced: Sequence[float],
    consumed: float,
    retention: float,
) -> float | None:
    """Return the smallest `time_to_expiry` of the partitions; None if an age is unknown."""
    soonest = math.inf
    for lag, age, rate in zip(lags, sub.ages.values, produced, strict=True):
        if not lag:
            continue
        if age is None:
            return None
        soonest = min(soonest, time_to_expiry(lag, age, rate, consumed, retention))
    return soonest


def _first_overflow(
    sub: LogSubscription,
    lags: Sequence[int | None],
    produced: Sequence[float],
    consumed: float,
    size: int,
) -> float | None:
    """Return the smallest `time_to_overflow` for partitions of `size` bytes; None if unknown."""
    topic = sub.topic
    mean = topic.size.mean
    if not mean:
        return None
    soonest = math.inf
    for partition, lag, rate in zip(sub.positions.partitions, lags, produced, strict=True):
        if not lag:
            continue
        start, end = topic.start[partition], topic.end[partition]
        if start is None or end is None:
            return None
        room = max(size / mean, end - start)
        soonest = min(soonest, time_to_overflow(lag, rate, consumed, room))
    return soonest
