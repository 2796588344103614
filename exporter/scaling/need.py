"""How many consumers a load needs, without regard to earlier advice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from exporter.scaling.load import Load, PartitionLoad
from exporter.scaling.packing import bins_for, evenly_for
from exporter.scaling.policy import ScalingPolicy

LEAD_SECONDS = 30.0
"""Time from the advice until a new consumer works. The backlog grows meanwhile."""
HEADROOM = 0.92
"""Consumers are removed only if the others need at most this part of their capacity."""


class Need(NamedTuple):
    """What the load asks for, without regard to earlier advice."""

    consumers: int
    hot: str | None = None
    """The partition that is too much for one consumer."""
    limited: bool = False
    """Whether more would be needed, but more cannot share the work."""


def need_of(load: Load, recent: float | None, capacity: float, policy: ScalingPolicy) -> Need:
    """Return how many consumers carry the produce rate and drain the backlog in time.

    The larger of the produce rates counts: over the rate window, and the `recent` one. If fewer
    consumers than now would be enough, they need some headroom, so that the number does not change
    back soon.
    """
    present = load.consumers or 0
    rate = max(load.produced_rate or 0.0, recent or 0.0)
    need = _count(load, rate, capacity, policy)
    if need.consumers < present:
        relaxed = _count(load, rate, capacity * HEADROOM, policy)
        need = relaxed if relaxed.consumers < present else Need(present, relaxed.hot)
    return need


def _count(load: Load, rate: float, capacity: float, policy: ScalingPolicy) -> Need:
    growth = max(rate - capacity * (load.consumers or 0), 0.0) * LEAD_SECONDS
    work = rate + (load.backlog + growth) / policy.drain_time
    # Of a long drain time, one message is nearly nothing. It still needs a consumer.
    least = 1 if load.lag or rate else 0
    count = max(math.ceil(work / capacity - 1e-9), least)
    partitions = load.partitions()
    if partitions:
        known = sum(each.produced_rate or 0.0 for each in partitions)
        sizes = [
            ((each.produced_rate or 0.0) * rate / known if known else rate / len(partitions))
            + each.lag / policy.drain_time
            + growth / policy.drain_time / len(partitions)
            for each in partitions
        ]
        if not any(sizes):
            return Need(least)
        return _share(partitions, sizes, capacity, load.max_consumers)
    return _limited(count, load.max_consumers)


def _share(
    partitions: Sequence[PartitionLoad],
    sizes: Sequence[float],
    capacity: float,
    limit: int | None,
) -> Need:
    """Return how many consumers carry these partitions, each read by one of them."""
    hottest = max(partitions, key=lambda each: each.produced_rate or 0.0)
    if (hottest.produced_rate or 0.0) <= capacity:
        useful = sum(size > 0 for size in sizes)
        count = evenly_for(sizes, capacity)
        limited = sum(sizes) > useful * capacity
        return _limited(count, limit)._replace(limited=limited)
    # No number of consumers helps the hot partition. The others still have to be carried.
    count = bins_for([size for size in sizes if size > 0], capacity)
    return _limited(count, limit)._replace(hot=hottest.name)


def _limited(count: int, limit: int | None) -> Need:
    """Return the need of `count` consumers, of which at most `limit` can share the work."""
    return Need(count) if limit is None else Need(min(count, limit), limited=count > limit)
