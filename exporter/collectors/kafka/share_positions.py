"""The progress of share groups, as positions that give correct lag, consumption and ages.

A share group processes records in any order. Brokers of Kafka 4.2 and later return a start offset,
before which all records are processed, and the number of records from there to the log's end that
are not. The position is the start plus the number of processed records after it. So the log's end
minus the position is the lag, and the position moves by one for each record.

The broker stores an acknowledgement together with the start as it was before it. So the start may
lag one acknowledgement behind the first unprocessed record. If the start has not moved during two
acknowledgements, it is the first unprocessed record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.group_protocol_client import ShareOffsets
from exporter.collectors.kafka.raw.share_offsets import UNKNOWN, SharePartition
from exporter.model import Deadline, Log, Positions

Ends = Mapping[tuple[str, int], int]
STUCK = 2
"""Movements of the position after which a start that did not move is exact."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Positions of share groups, by group."""

    done: Mapping[str, Positions] = field(default_factory=dict)
    """Used for lag and consumption."""
    oldest: Mapping[str, Positions] = field(default_factory=dict)
    """The oldest unprocessed records, used for ages."""
    vague: frozenset[tuple[str, str]] = frozenset()
    """(group, topic) where the oldest unprocessed record may be earlier."""


class _Progress(NamedTuple):
    """The state of one group in one partition after a poll."""

    start: int
    position: int
    highest: int
    """Maximum possible position."""
    moved: int
    """Polls since the start last moved in which the position certainly moved."""


class SharePositions:
    """Tracks share groups across polls."""

    def __init__(self) -> None:
        self._partitions: frozenset[tuple[str, int]] = frozenset()
        self._groups: frozenset[str] = frozenset()
        self._progress: dict[tuple[str, str, int], _Progress] = {}

    def lacks(self, groups: Iterable[str]) -> bool:
        """Return whether the partitions of any of these groups are still unknown."""
        return not self._groups.issuperset(groups)

    def learn(self, offsets: ShareOffsets) -> None:
        """Store which partitions the groups read."""
        self._groups = frozenset(offsets.rows)
        self._partitions = frozenset(
            (row.topic, row.partition) for rows in offsets.rows.values() for row in rows
        )

    def ends_before(self, client: KafkaClient, deadline: Deadline) -> Ends:
        """Read the ends of the groups' logs before the groups' offsets.

        Records that arrive in between are not processed, and must not look as if they were.
        """
        if not self._partitions:
            return {}
        latest = OffsetSpec.latest()
        wanted = {TopicPartition(*pair): latest for pair in self._partitions}
        timeout = max(deadline.remaining(), 0.1)
        found = {}
        for item, future in client.admin.list_offsets(wanted, request_timeout=timeout).items():
            try:
                found[item.topic, item.partition] = client.wait(future, deadline.remaining()).offset
            except KafkaException:
                # Its position stays unknown; the later read of all log ends reports the error.
                continue
        return found

    def settle(self, offsets: ShareOffsets, before: Ends, logs: Mapping[str, Log]) -> Settled:
        """Compute positions from the brokers' answers; `logs` were read after them."""
        done: dict[str, Positions] = {}
        oldest: dict[str, Positions] = {}
        vague: set[tuple[str, str]] = set()
        current: dict[tuple[str, str, int], _Progress] = {}
        for group, rows in offsets.rows.items():
            counted: dict[str, dict[int, int | None]] = {}
            firsts: dict[str, dict[int, int | None]] = {}
            for row in rows:
                if row.topic not in logs or row.start == UNKNOWN:
                    continue
                progress = self._progress_of(group, row, before, logs[row.topic].end)
                first = None
                if progress is not None:
                    current[group, row.topic, row.partition] = progress
                    first = progress.start if progress.moved >= STUCK else progress.position
                    if progress.start < first < (logs[row.topic].end[row.partition] or 0):
                        vague.add((group, row.topic))
                counted.setdefault(row.topic, {})[row.partition] = progress and progress.position
                firsts.setdefault(row.topic, {})[row.partition] = first
            done[group] = Positions(group, counted)
            oldest[group] = Positions(group, firsts)
        self._progress = {**_unread(self._progress, offsets), **current}
        self.learn(offsets)
        return Settled(done, oldest, frozenset(vague))

    def _progress_of(
        self, group: str, row: SharePartition, before: Ends, ends: Sequence[int | None]
    ) -> _Progress | None:
        """Return the group's state in a partition; None if it is unknown.

        The broker counts up to a log end between the two that were read. So the position is at
        least the earlier end minus the count, and at most the later end minus the count. Within
        these bounds it never moves back.
        """
        end = ends[row.partition] if row.partition < len(ends) else None
        earlier = before.get((row.topic, row.partition))
        if row.start is None or row.lag is None or end is None or earlier is None:
            return None
        lowest, highest = max(earlier - row.lag, row.start), max(end - row.lag, row.start)
        known = self._progress.get((group, row.topic, row.partition))
        if known is None:
            return _Progress(row.start, lowest, highest, 0)
        position = min(max(lowest, known.position), highest)
        if known.start != row.start:
            return _Progress(row.start, position, highest, 0)
        return _Progress(row.start, position, highest, known.moved + (lowest > known.highest))


def _unread(
    current: Mapping[tuple[str, str, int], _Progress], offsets: ShareOffsets
) -> dict[tuple[str, str, int], _Progress]:
    """Return the state of groups that were not read this time."""
    return {key: progress for key, progress in current.items() if key[0] not in offsets.rows}
