"""Which groups of a Kafka cluster have members, and which have not moved for long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from exporter.collectors.kafka.ages.lookups import Lookup, Lookups
from exporter.collectors.kafka.client import KafkaClient
from exporter.model import (
    MEMBERLESS,
    Deadline,
    LogBacklog,
    Memberships,
    Stillness,
    Survey,
    Surveyed,
)

FirstRecent = Mapping[tuple[str, int], int]
"""Partition to the offset of its first record that is newer than the time in question; -1 if it has
none. Partitions whose lookup failed are missing.
"""


def survey_of(
    client: KafkaClient,
    leaders: Mapping[str, Sequence[int]],
    backlog: LogBacklog,
    members: Memberships,
    seconds: float,
    deadline: Deadline,
) -> Survey:
    """Return the names, and which groups have not moved for `seconds`.

    One lookup by timestamp for each partition of groups without members: a record that is older
    than `seconds` and was not read, or a newer one that was, tells about every group.
    """
    consumers = {group: _consumers(group, backlog, members) for group in backlog.positions}
    since = round((time.time() - seconds) * 1000)
    partitions = {
        (topic, partition)
        for group, positions in backlog.positions.items()
        if consumers[group] == 0
        for topic, offsets in positions.offsets.items()
        for partition in offsets
    }
    lookups = Lookups(client, leaders)
    answers = lookups.ask((Lookup(*each, since) for each in sorted(partitions)), deadline)
    recent = {(each.lookup.topic, each.lookup.partition): each.offset for each in answers}
    return Survey(
        frozenset((None, topic) for topic in backlog.logs),
        frozenset({*backlog.states, *backlog.positions}),
        list(_subscriptions(backlog, consumers, recent)),
        [*backlog.problems, *members.problems, *lookups.problems],
    )


def _consumers(group: str, backlog: LogBacklog, members: Memberships) -> int | None:
    described = members.groups.get(group)
    if described is not None:
        return len(described.members)
    return 0 if backlog.states.get(group) in MEMBERLESS else None


def _subscriptions(
    backlog: LogBacklog, consumers: Mapping[str, int | None], recent: FirstRecent
) -> Iterator[Surveyed]:
    for group, positions in backlog.positions.items():
        for topic, offsets in positions.offsets.items():
            found: set[Stillness] = {
                _stillness(backlog, group, topic, partition, offset, recent)
                for partition, offset in offsets.items()
            }
            yield Surveyed(None, topic, group, consumers[group], worst(found))


def worst(found: set[Stillness]) -> Stillness:
    """Return what the partitions say together: one that moved or is unknown decides."""
    order: tuple[Stillness, ...] = ("moved", "unknown", "still")
    return next((each for each in order if each in found), "drained")


def _stillness(
    backlog: LogBacklog,
    group: str,
    topic: str,
    partition: int,
    offset: int | None,
    recent: FirstRecent,
) -> Stillness:
    log, first = backlog.logs.get(topic), recent.get((topic, partition))
    if log is None or partition >= len(log.end) or offset is None or first is None:
        return "unknown"
    start, end = log.start[partition], log.end[partition]
    if start is None or end is None or offset > end:
        return "unknown"
    position = max(offset, start)
    hole = backlog.drained.get((topic, partition, group in backlog.read_committed))
    if hole is not None and hole[0] <= position < hole[1]:
        position = hole[1]
    first = end if first < 0 else first
    if position > first:
        return "moved"
    return "still" if position < first else "drained"
