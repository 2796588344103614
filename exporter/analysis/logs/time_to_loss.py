"""When retention reaches what was not read yet.

`lag` is in messages, `age` (of the oldest unread one) in seconds, `produced` and `consumed` in messages a second, each
of one partition. Plain numbers: there are as many of them as positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.analysis.logs.subscription import LogSubscription


def time_to_expiry(
    lag: int, age: float, produced: float, consumed: float, retention: float
) -> float:
    """Return in how many seconds the oldest unread message will be older than `retention` seconds; inf where never.

    The backlog's messages are taken to lie evenly over its age, so that the oldest unread one's age goes in a straight
    line from `age` now to lag / consumed at the turn, lag / consumed seconds from now, when all of today's backlog is
    read. After that it grows by 1 - consumed / produced seconds a second.
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
    """Return in how many seconds the backlog will be more than the `room` messages it has; inf where never."""
    if lag >= room:
        return 0.0
    growth = produced - consumed
    return (room - lag) / growth if growth > 0 else math.inf


def time_to_loss(sub: LogSubscription, lags: Sequence[int | None]) -> float | None:
    """Return in how many seconds retention will reach the subscription's first unread message.

    `lags` are side by side with its partitions. inf where it never will at the present rates; None where that can't
    be told. Retention by size is told by the mean size of the messages that were read, or by how many the log holds
    now, whichever leaves more room: messages are smaller on the broker's disk when they are compressed.
    """
    retention = sub.topic.retention
    if retention is None or not lags or None in lags:
        return None
    if not any(lags) or retention == (None, None):
        return math.inf
    produced = _produced(sub)
    consumed = sub.consumed.rates[sub.consumed_slot]
    if produced is None or consumed is None:
        return None
    # Consumption is known of all partitions together: those that are read to their end consume what is produced there,
    # the others share what is left of it.
    consumed -= sum(rate for rate, lag in zip(produced, lags, strict=True) if not lag)
    consumed = max(consumed, 0.0) / sum(1 for lag in lags if lag)
    soonest: float | None = math.inf
    if retention.seconds is not None:
        soonest = _first_expiry(sub, lags, produced, consumed, retention.seconds)
    if retention.size is not None and soonest is not None:
        overflow = _first_overflow(sub, lags, produced, consumed, retention.size)
        soonest = None if overflow is None else min(soonest, overflow)
    return None if soonest is None else round(soonest, 3)


def _produced(sub: LogSubscription) -> list[float] | None:
    """Return what is produced on each of its partitions, in messages a second; None where one is not known."""
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
    """Return the soonest `time_to_expiry` of the partitions; None where an age is not known."""
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
    """Return the soonest `time_to_overflow` of the partitions of `size` bytes; None if it is not known."""
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
