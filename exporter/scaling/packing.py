"""How many consumers carry partitions of different load, each read by one consumer.

Variable item size bin packing: a partition is an item, its size the rate at which it has to be
processed, a consumer a bin of its capacity (first fit decreasing; see arXiv 2402.06085).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def bins_for(sizes: Sequence[float], capacity: float) -> int:
    """Return how many consumers are enough. A size above the capacity has a bin of its own."""
    room: list[float] = []
    for size in sorted(sizes, reverse=True):
        for index, left in enumerate(room):
            if size <= left:
                room[index] = left - size
                break
        else:
            room.append(max(capacity - size, 0.0))
    return len(room)


def evenly_for(sizes: Sequence[float], capacity: float) -> int:
    """Return how many consumers are enough if each reads as many partitions as the others.

    Kafka's assignors share partitions by number, not by load. Partitions are dealt out in order,
    as by round robin. If even one partition per consumer is too much, the result is the number of
    partitions that have any load.
    """
    useful = sum(size > 0 for size in sizes)
    least = max(math.ceil(sum(sizes) / capacity), 1)
    for count in range(least, useful):
        # Stops at the first consumer with too much: of 10,000 partitions, most numbers have one.
        if all(sum(sizes[start::count]) <= capacity for start in range(count)):
            return count
    return max(useful, 1)
