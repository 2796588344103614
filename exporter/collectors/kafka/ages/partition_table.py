"""The partitions whose times are requested, for as long as they exist."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.collectors.kafka.ages.heads import BacklogSnapshot, Wanted
from exporter.collectors.kafka.ages.partition_times import PartitionTimes
from exporter.model import LogBacklog


class PartitionTable:
    """Keeps the `PartitionTimes` of each partition across polls."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], PartitionTimes] = {}

    def __getitem__(self, key: tuple[str, int]) -> PartitionTimes:
        return self._parts[key]

    def get(self, key: tuple[str, int]) -> PartitionTimes | None:
        """Return the partition; None if no time of it was ever requested."""
        return self._parts.get(key)

    def __iter__(self) -> Iterator[PartitionTimes]:
        return iter(self._parts.values())

    def observe(self, snapshot: BacklogSnapshot, wanted: Wanted) -> None:
        """Give each partition its wanted offsets for this poll; remove partitions that are gone."""
        backlog = snapshot.backlog
        for key in [key for key in self._parts if _is_gone(key, backlog)]:
            del self._parts[key]
        for key in wanted.keys() - self._parts.keys():
            self._parts[key] = PartitionTimes(*key)
        for key, part in self._parts.items():
            topic, partition = key
            part.compacted = topic in snapshot.compacted
            log = backlog.logs.get(topic)
            start = log.start[partition] if log is not None else None
            end = log.end[partition] if log is not None else None
            if start is None or end is None:
                part.want(set())
            else:
                part.observe(start, end, wanted.get(key, set()))

    def disordered(self) -> set[str]:
        """Return the topics with timestamps that are out of order."""
        return {part.topic for part in self if part.trust.disordered}


def _is_gone(key: tuple[str, int], backlog: LogBacklog) -> bool:
    topic, partition = key
    log = backlog.logs.get(topic)
    if log is None:
        return backlog.logs_complete
    return topic in backlog.recreated or partition >= len(log.end)
