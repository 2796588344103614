"""Chooses the records to read in a poll: within a budget, and each partition in turn."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TypeVar

from exporter.collectors.kafka.ages.index_trust import CHECKS
from exporter.collectors.kafka.ages.partition_times import PartitionTimes
from exporter.collectors.kafka.ages.read_points import ReadPoint

READS = 200
"""Records read in a poll. If no more offsets than this are new, all of them are read."""
FIRST_READS = 1_000
"""Records read in a poll while there are partitions with unverified lookups."""
RECORD_READS = 1_500
"""Records read in a poll if ages come from records only."""

T = TypeVar("T")


def unread_points(parts: Iterable[PartitionTimes]) -> list[tuple[PartitionTimes, ReadPoint]]:
    """Return all wanted offsets without a valid read."""
    return [(part, point) for part in parts for point in part.unread()]


def worth_reading(
    parts: Iterable[PartitionTimes], untrusted: AbstractSet[str], at_ms: int, turn: int
) -> list[tuple[PartitionTimes, ReadPoint]]:
    """Choose records to read besides the lookups: samples, and offsets that lookups cannot resolve.

    Partitions with unverified lookups come first, once their lookups are done. Then each partition
    gets a turn. If budget is left, their other offsets follow. One topic with poor lookups must not
    block the others.

    `untrusted` are topics whose lookups are not trusted. `at_ms` is when the positions were read.
    `turn` grows with each poll.
    """
    doubtful: list[tuple[PartitionTimes, ReadPoint]] = []
    checks: list[PartitionTimes] = []
    others: list[PartitionTimes] = []
    for part in parts:
        unread = part.unread()
        if part.topic in untrusted or part.no_lookups:
            doubtful += [(part, point) for point in unread]
            continue
        doubtful += [(part, point) for point in part.doubtful(at_ms)]
        if unread:
            waits = part.narrowed and not part.trust.covers(min(unread)[0])
            (checks if waits else others).append(part)
    room = FIRST_READS if checks else READS
    doubtful = rotated(doubtful, turn)
    urgent, more = _in_turn(checks[:room], CHECKS)
    sample, others_more = _in_turn(rotated(others, turn)[:room], 1)
    samples = [*sample, *more, *others_more]
    share = max((room - len(urgent)) // 2, room - len(urgent) - len(samples), 0)
    return [*urgent, *doubtful[:share], *samples][:room]


def rotated(items: list[T], turn: int) -> list[T]:
    """Return the list rotated by `turn`."""
    first = turn % len(items) if items else 0
    return items[first:] + items[:first]


def _in_turn(
    parts: Iterable[PartitionTimes], each: int
) -> tuple[list[tuple[PartitionTimes, ReadPoint]], list[tuple[PartitionTimes, ReadPoint]]]:
    """Return the `each` most useful offsets of each partition, and all the others."""
    first: list[tuple[PartitionTimes, ReadPoint]] = []
    others: list[tuple[PartitionTimes, ReadPoint]] = []
    for part in parts:
        points = [(part, point) for point in part.unread_best_first()]
        first += points[:each]
        others += points[each:]
    return first, others
