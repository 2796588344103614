"""The first unread offset of each subscription in each partition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from exporter.collectors.kafka.ages.movements import CommittedAt, Key, Movement, unknown_time
from exporter.collectors.kafka.ages.read_points import ReadPoint
from exporter.model import Log, LogBacklog


@dataclass(frozen=True, slots=True)
class BacklogSnapshot:
    """The result of one poll of the backlog."""

    backlog: LogBacklog
    leaders: Mapping[str, tuple[int, ...]]
    at: float
    """Unix time at which the positions were read."""
    compacted: frozenset[str] = frozenset()
    """Topics with compaction: records may be deleted from the middle of the log."""
    committed_at: CommittedAt = unknown_time
    """Returns the Unix time of a commit, if it is known."""


class Heads(NamedTuple):
    """First unread offsets of one subscription, as two columns; -1 is a partition without lag."""

    topic: str
    committed_only: bool
    partitions: list[int]
    offsets: list[int]


def find_heads(backlog: LogBacklog) -> dict[Key, Heads]:
    """Return the first unread offsets of each subscription. Unreadable partitions are left out."""
    heads = {}
    for group, (_, by_topic) in backlog.positions.items():
        committed_only = group in backlog.read_committed
        for topic, offsets in by_topic.items():
            log = backlog.logs.get(topic)
            if log is not None:
                heads[group, topic] = _heads(topic, log, offsets, backlog, committed_only)
    return heads


def wanted_points(
    heads: Iterable[Heads], movements: Iterable[Movement]
) -> dict[tuple[str, int], set[ReadPoint]]:
    """Return, by partition, the offsets whose times are needed."""
    wanted: dict[tuple[str, int], set[ReadPoint]] = defaultdict(set)
    for topic, committed_only, partitions, offsets in heads:
        for partition, offset in zip(partitions, offsets, strict=True):
            if offset >= 0:
                wanted[topic, partition].add((offset, committed_only))
    for movement in movements:
        wanted[movement.topic, movement.partition].add((movement.last, False))
    return wanted


def _heads(
    topic: str,
    log: Log,
    offsets: Mapping[int, int | None],
    backlog: LogBacklog,
    committed_only: bool,
) -> Heads:
    starts = log.start
    ends = log.stable if committed_only else log.end
    known = len(ends)
    drained = backlog.drained
    partitions: list[int] = []
    firsts: list[int] = []
    for partition in sorted(offsets):
        position = offsets[partition]
        if position is None or partition >= known:
            continue
        start, end = starts[partition], ends[partition]
        if start is None or end is None:
            continue
        first = max(start, position)
        if first >= end:
            first = -1
        elif drained and (topic, partition, committed_only) in drained:
            since, until = drained[topic, partition, committed_only]
            if since <= first and end <= until:
                first = -1
        partitions.append(partition)
        firsts.append(first)
    return Heads(topic, committed_only, partitions, firsts)
