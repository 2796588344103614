"""How far share groups have got, as positions that make lag, consumption and age come out right.

A share group is done with records in any order. Brokers of 4.2 and later give a start offset, before which all records
are done with, and how many records from there to the log's end are not. The position that counts is the start plus the
records after it that are done with: the log's end less that is the lag, and it moves by one for each record.

The start is written with an acknowledgement as it was before it, so it may be one acknowledgement behind the first record
that is not done with. Once it has stood still over two of them, that record is where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.group_asker import ShareOffsets
from exporter.collectors.kafka.raw.share_offsets import UNKNOWN, SharePartition
from exporter.model import Deadline, Log, Positions

Ends = Mapping[tuple[str, int], int]
STUCK = 2
"""Movements of the position, after which a start that did not move is exact."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Positions of share groups, by group."""

    done: Mapping[str, Positions] = field(default_factory=dict)
    """By which lag and consumption go."""
    oldest: Mapping[str, Positions] = field(default_factory=dict)
    """Of the oldest records that are not done with, by which ages go."""
    vague: frozenset[tuple[str, str]] = frozenset()
    """(group, topic) where the oldest record may be one before that."""


class _Place(NamedTuple):
    """What was known of one group in one partition after a look."""

    start: int
    position: int
    highest: int
    """Which the position may be, as far as is known."""
    moved: int
    """Looks since the start last moved in which the position did for certain."""


class SharePositions:
    """Follows share groups from look to look."""

    def __init__(self) -> None:
        self._partitions: frozenset[tuple[str, int]] = frozenset()
        self._groups: frozenset[str] = frozenset()
        self._places: dict[tuple[str, str, int], _Place] = {}

    def lacks(self, groups: Iterable[str]) -> bool:
        """Tell whether it is not known yet which partitions these groups read."""
        return not self._groups.issuperset(groups)

    def learn(self, offsets: ShareOffsets) -> None:
        """Take from an answer which partitions the groups read."""
        self._groups = frozenset(offsets.rows)
        self._partitions = frozenset(
            (row.topic, row.partition) for rows in offsets.rows.values() for row in rows
        )

    def ends_before(self, client: KafkaClient, deadline: Deadline) -> Ends:
        """Read the ends of the logs that share groups read, before the groups are asked about.

        What comes in between is not done with, and must not look as if it were.
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
                # The position is unknown without it; reading the logs' ends says what is wrong.
                continue
        return found

    def settle(self, offsets: ShareOffsets, before: Ends, logs: Mapping[str, Log]) -> Settled:
        """Turn what the brokers said into positions; `logs` were read after it."""
        done: dict[str, Positions] = {}
        oldest: dict[str, Positions] = {}
        vague: set[tuple[str, str]] = set()
        places: dict[tuple[str, str, int], _Place] = {}
        for group, rows in offsets.rows.items():
            counted: dict[str, dict[int, int | None]] = {}
            firsts: dict[str, dict[int, int | None]] = {}
            for row in rows:
                if row.topic not in logs or row.start == UNKNOWN:
                    continue
                place = self._place(group, row, before, logs[row.topic].end)
                first = None
                if place is not None:
                    places[group, row.topic, row.partition] = place
                    first = place.start if place.moved >= STUCK else place.position
                    if place.start < first < (logs[row.topic].end[row.partition] or 0):
                        vague.add((group, row.topic))
                counted.setdefault(row.topic, {})[row.partition] = place and place.position
                firsts.setdefault(row.topic, {})[row.partition] = first
            done[group] = Positions(group, counted)
            oldest[group] = Positions(group, firsts)
        self._places = {**_kept(self._places, offsets), **places}
        self.learn(offsets)
        return Settled(done, oldest, frozenset(vague))

    def _place(
        self, group: str, row: SharePartition, before: Ends, ends: Sequence[int | None]
    ) -> _Place | None:
        """Return where the group stands; None where that is not known.

        The broker counts against an end between the two that were read. So the position is at least the earlier end
        less the count, and at most the later end less it, and within that it does not go back.
        """
        end = ends[row.partition] if row.partition < len(ends) else None
        earlier = before.get((row.topic, row.partition))
        if row.start is None or row.lag is None or end is None or earlier is None:
            return None
        lowest, highest = max(earlier - row.lag, row.start), max(end - row.lag, row.start)
        known = self._places.get((group, row.topic, row.partition))
        if known is None:
            return _Place(row.start, lowest, highest, 0)
        position = min(max(lowest, known.position), highest)
        if known.start != row.start:
            return _Place(row.start, position, highest, 0)
        return _Place(row.start, position, highest, known.moved + (lowest > known.highest))


def _kept(
    places: Mapping[tuple[str, str, int], _Place], offsets: ShareOffsets
) -> dict[tuple[str, str, int], _Place]:
    """Return the places of groups that were not read this time."""
    return {key: place for key, place in places.items() if key[0] not in offsets.rows}
