"""The first unread offset of each subscription in each partition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from exporter.collectors.kafka.ages.movements import CommittedAt, Key, Movement, unknown_time
from exporter.collectors.kafka.ages.read_points import ReadPoint
from exporter.model import Log, LogBacklog

Wanted = Mapping[tuple[str, int], set[ReadPoint]]
"""Topic and partition to the offsets whose times are needed."""


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


class _Found(NamedTuple):
    """Heads, and what they were computed from."""

    offsets: Mapping[int, int | None]
    log: Log
    heads: Heads


class HeadsTable:
    """The first unread offsets of all subscriptions.

    They are computed again only where positions or log ends have changed: others are the same
    objects as before.
    """

    def __init__(self) -> None:
        self._logs: dict[str, Log] = {}
        self._found: dict[Key, _Found] = {}
        self._count = 0
        self._wanted: Wanted | None = None

    def observe(self, backlog: LogBacklog) -> dict[Key, Heads]:
        """Return the heads after a poll. Unreadable partitions are left out."""
        before, old_logs = self._found, self._logs
        self._logs = {
            topic: old if (old := old_logs.get(topic)) == log else log
            for topic, log in backlog.logs.items()
        }
        # Whether records can be read in between is not known from positions and logs.
        changing = {topic for topic, _, _ in backlog.drained}
        self._found = {}
        heads = {}
        same = True
        for group, (_, by_topic) in backlog.positions.items():
            committed_only = group in backlog.read_committed
            for topic, offsets in by_topic.items():
                log = self._logs.get(topic)
                if log is None:
                    continue
                key = (group, topic)
                found = None if topic in changing else before.get(key)
                if not (
                    found is not None
                    and found.log is log
                    and found.heads.committed_only is committed_only
                    and (found.offsets is offsets or found.offsets == offsets)
                ):
                    made = _heads(topic, log, offsets, backlog, committed_only)
                    found, same = _Found(offsets, log, made), False
                heads[key] = found.heads
                if topic not in changing:
                    self._found[key] = found
        if not same or len(heads) != self._count or changing:
            self._wanted = None
        self._count = len(heads)
        return heads

    def wanted(self, heads: Iterable[Heads], movements: Iterable[Movement]) -> Wanted:
        """Return the offsets whose times are needed. `heads` are those of the last poll."""
        if self._wanted is None:
            self._wanted = wanted_points(heads)
        wanted = dict(self._wanted)
        for movement in movements:
            key = (movement.topic, movement.partition)
            wanted[key] = {*wanted.get(key, ()), (movement.last, False)}
        return wanted


def wanted_points(heads: Iterable[Heads]) -> Wanted:
    """Return the offsets of the heads, by partition."""
    wanted: dict[tuple[str, int], set[ReadPoint]] = defaultdict(set)
    for topic, committed_only, partitions, offsets in heads:
        for partition, offset in zip(partitions, offsets, strict=True):
            if offset >= 0:
                wanted[topic, partition].add((offset, committed_only))
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
