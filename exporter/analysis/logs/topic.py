"""The state of one log (a Kafka topic): its offsets, and how much was produced to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final
from uuid import uuid4

from exporter.analysis.mean_size import MeanSize
from exporter.analysis.nodes import Labeler
from exporter.analysis.rates import CounterTable
from exporter.model import Log, LogBacklog, Retention

GONE_AFTER = 2
"""Something is deleted after this many consecutive complete listings without it."""
MARK = uuid4().hex
"""Placeholder for the partition in a template of label texts; occurs in no name."""


class LogTopic:
    """Follows one destination from poll to poll."""

    __slots__ = (
        "_label",
        "_slots",
        "delta",
        "delta_sum",
        "end",
        "fresh",
        "gaps",
        "high",
        "label",
        "labels",
        "missing",
        "name",
        "produced",
        "read_at",
        "retention",
        "same",
        "size",
        "stable",
        "start",
        "whole",
    )

    def __init__(
        self, name: str, label: str, produced: CounterTable, partition_label: Callable[[int], str]
    ) -> None:
        self.name: Final = name
        self.label: Final = label
        """Text of the topic's labels."""
        self.produced: Final = produced
        self._label: Final = partition_label
        self._slots: list[int] = []
        self.labels: list[str] = []
        self.start: list[int | None] = []
        self.end: list[int | None] = []
        self.stable: list[int | None] = []
        """Last known offsets by partition; None before the first reading."""
        self.high: list[int | None] = []
        self.delta: list[int] = []
        self.delta_sum = 0
        self.read_at: list[float] = []
        self.fresh: Log | None = None
        """The log at this poll; None if the topic could not be read at all."""
        self.whole = False
        """Whether this poll read every partition."""
        self.same = False
        """Whether this poll found the same offsets as the one before."""
        self.gaps = False
        self.retention: Retention | None = None
        """When messages are deleted; None if unknown."""
        self.size: Final = MeanSize()
        self.missing = 0
        """Number of consecutive complete listings without this topic."""

    @property
    def partitions(self) -> int:
        """Number of known partitions."""
        return len(self.end)

    def slots(self) -> Sequence[int]:
        """Return the slots of the produced counters, by partition."""
        return self._slots

    def produced_rate(self, partition: int) -> float | None:
        """Return messages a second over the rate window; None if unknown."""
        known = partition < len(self._slots)
        return self.produced.rates[self._slots[partition]] if known else None

    def produced_on(self, partitions: Collection[int]) -> int:
        """Return how many messages were produced to these partitions since the last poll."""
        known = len(self.delta)
        if len(partitions) == known == max(partitions, default=-1) + 1:
            return self.delta_sum
        return sum(self.delta[partition] for partition in partitions if partition < known)

    def restart(self) -> None:
        """Forget the offsets, because the topic was recreated. Counters continue."""
        count = len(self.end)
        self.start = [None] * count
        self.end = [None] * count
        self.stable = [None] * count
        self.high = [None] * count
        self.fresh = None

    def advance(self, log: Log | None, now: float) -> None:
        """Add one poll; None if the topic could not be read."""
        self.same = log is not None and log == self.fresh
        self.fresh = log
        self.delta_sum = 0
        if log is None:
            self.delta = [0] * len(self.end)
            self.whole = False
            return
        if self.same and self.whole:
            self.read_at = [now] * len(self.end)
            self.delta = [0] * len(self.end)
            return
        self._fit(len(log.end), now)
        self.whole = None not in log.end and None not in log.start
        delta = [0] * len(self.end)
        values, slots, high = self.produced.values, self._slots, self.high
        for partition, (start, end) in enumerate(zip(log.start, log.end, strict=True)):
            if start is None or end is None:
                continue
            self.read_at[partition] = now
            self.start[partition] = start
            self.end[partition] = end
            known = high[partition]
            if known is None:
                high[partition] = end
            elif end > known:
                delta[partition] = moved = end - known
                values[slots[partition]] += moved
                self.delta_sum += moved
                high[partition] = end
        for partition, stable in enumerate(log.stable):
            if stable is not None:
                self.stable[partition] = stable
        self.delta = delta

    def stale_slots(self) -> list[int]:
        """Return the slots of the partitions that this poll could not read."""
        if self.whole:
            return []
        if self.fresh is None:
            return self._slots
        return [
            slot
            for slot, start, end in zip(self._slots, self.fresh.start, self.fresh.end, strict=True)
            if start is None or end is None
        ]

    def release(self) -> None:
        """Free the slots of its counters; the topic is gone."""
        for slot in self._slots:
            self.produced.release(slot)
        self._slots = []

    def _fit(self, count: int, now: float) -> None:
        for partition in range(len(self.end), count):
            self._slots.append(self.produced.allocate(now))
            self.labels.append(self._label(partition))
            self.start.append(None)
            self.end.append(None)
            self.stable.append(None)
            self.high.append(None)
            self.read_at.append(now)
        while len(self.end) > count:
            self.produced.release(self._slots.pop())
            for column in (self.labels, self.start, self.end, self.stable, self.high, self.read_at):
                column.pop()


def follow_topics(
    topics: dict[str, LogTopic], backlog: LogBacklog, new: Callable[[str], LogTopic], now: float
) -> list[LogTopic]:
    """Update `topics` from a poll. `new` makes a topic. Return the topics that are gone."""
    for name, log in backlog.logs.items():
        topic = topics.get(name)
        if topic is None:
            topic = topics[name] = new(name)
        topic.missing = 0
        topic.gaps = name in backlog.gaps
        topic.advance(log, now)
    gone: list[LogTopic] = []
    for name in [name for name in topics if name not in backlog.logs]:
        topic = topics[name]
        topic.advance(None, now)
        if backlog.logs_complete:
            topic.missing += 1
            if topic.missing >= GONE_AFTER:
                gone.append(topics.pop(name))
    return gone


def partition_labels(labeler: Labeler, labels: Mapping[str, str]) -> Callable[[int], str]:
    """Return a function that makes label texts quickly: they differ in the partition only."""
    head, _, tail = labeler({**labels, "partition": MARK}).partition(MARK)
    return lambda partition: f"{head}{partition}{tail}"
