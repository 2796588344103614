"""Which partition probes which broker, and which group is committed to there. Pure functions of the metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import Roster

GROUPS = 64
"""Names of groups to choose from."""
KEPT = 86_400.0
"""Seconds for which a broker that leads nothing any more is probed, in vain, where it is not known to be removed."""
GONE_AFTER = 2
"""Answers in a row by which a broker does not belong to the cluster any more, before it is probed no more."""
NO_LEADER = -1


class Partition(NamedTuple):
    """Who has one partition, by broker ids; the first replica is to lead it."""

    leader: int
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What of the cluster's metadata the probes go by."""

    nodes: Mapping[int, str]
    """Broker id to host:port."""
    partitions: tuple[Partition, ...] | None
    """Of the probe's topic; None where it can't be seen."""
    coordinators: tuple[int, ...]
    """Leaders of the partitions of Kafka's topic of offsets; empty where it can't be seen."""


@dataclass(frozen=True, slots=True)
class Place:
    """One broker, and where it is probed."""

    broker: int
    node: str
    """host:port."""
    partition: int | None
    """None where it leads no partition any more."""
    led: float
    """When it was last seen to lead the partition, in monotonic seconds."""


def read_layout(metadata: ClusterMetadata, topic: str) -> Layout:
    """Take from the cluster's metadata what the probes go by."""
    partitions = _partitions(metadata, topic)
    return Layout(
        nodes={b.id: f"{b.host}:{b.port}" for b in metadata.brokers.values()},
        partitions=partitions or None,
        coordinators=tuple(p.leader for p in _partitions(metadata, OFFSETS_TOPIC)),
    )


def _partitions(metadata: ClusterMetadata, topic: str) -> tuple[Partition, ...]:
    found = metadata.topics.get(topic)
    if found is None:
        return ()
    known = {n: Partition(p.leader, tuple(p.replicas)) for n, p in found.partitions.items()}
    return tuple(known.get(n, Partition(NO_LEADER, ())) for n in range(max(known, default=-1) + 1))


class Departures:
    """Which of the brokers that were probed do not belong to the cluster any more."""

    def __init__(self) -> None:
        self._answered: float | None = None
        self._lacking: dict[int, int] = {}

    def after(self, roster: Roster | None, places: Iterable[Place]) -> frozenset[int]:
        """Take an answer, and return the ids of the brokers that are gone. One that is given again counts once."""
        if roster is not None and roster.at != self._answered:
            self._answered = roster.at
            self._lacking = {
                place.broker: self._lacking.get(place.broker, 0) + 1
                for place in places
                if roster.is_removed(str(place.broker))
            }
        return frozenset(broker for broker, n in self._lacking.items() if n >= GONE_AFTER)


def place(
    before: Iterable[Place], layout: Layout, now: float, gone: frozenset[int] = frozenset()
) -> tuple[Place, ...]:
    """Return where each broker is probed, `now` in monotonic seconds; `gone` are removed brokers.

    A broker keeps its partition while it leads it and while nobody does, so that a dead broker's probes fail instead
    of being left out. A listed broker that leads none has no place.
    """
    known = {place.broker: place for place in before if place.broker not in gone}
    partitions = layout.partitions or ()
    led: dict[int, int] = {}
    waiting: dict[int, int] = {}
    for at, (leader, replicas) in enumerate(partitions):
        if leader in layout.nodes:
            led.setdefault(leader, at)
        elif replicas:
            waiting.setdefault(replicas[0], at)
    found = []
    for broker, node in layout.nodes.items():
        old = known.get(broker)
        kept = _kept(old, layout)
        if kept is not None and _leader(layout, kept) == broker:
            found.append(Place(broker, node, kept, now))
        elif broker in led:
            found.append(Place(broker, node, led[broker], now))
        elif kept is not None or broker in waiting:
            number = waiting[broker] if kept is None else kept
            found.append(Place(broker, node, number, old.led if old is not None else now))
    found += [
        Place(old.broker, old.node, _kept(old, layout), old.led)
        for old in known.values()
        if old.broker not in layout.nodes and now - old.led <= KEPT
    ]
    return tuple(found)


def _leader(layout: Layout, partition: int) -> int:
    """Return the partition's leader where it is a listed broker."""
    partitions = layout.partitions or ()
    leader = partitions[partition].leader if partition < len(partitions) else NO_LEADER
    return leader if leader in layout.nodes else NO_LEADER


def _kept(old: Place | None, layout: Layout) -> int | None:
    """Return the partition that the broker had, unless it is gone or another broker leads it."""
    if old is None or old.partition is None or old.partition >= len(layout.partitions or ()):
        return None
    return old.partition if _leader(layout, old.partition) in (old.broker, NO_LEADER) else None


def homeless(layout: Layout) -> list[int]:
    """Return the brokers that lead no partition of the topic and are not to lead one either."""
    partitions = layout.partitions or ()
    homes = {p.leader for p in partitions} | {p.replicas[0] for p in partitions if p.replicas}
    return sorted(broker for broker in layout.nodes if broker not in homes)


def orphans(layout: Layout, roster: Roster | None) -> list[int]:
    """Return the partitions whose replicas are all on brokers that do not belong to the cluster any more."""
    if roster is None:
        return []
    return [
        number
        for number, partition in enumerate(layout.partitions or ())
        if partition.replicas
        and all(roster.is_removed(str(broker)) for broker in partition.replicas)
    ]


def assignment(layout: Layout, brokers: Sequence[int]) -> list[list[int]]:
    """Return replicas of a new partition for each of `brokers`, which is to lead it; as many as the others have."""
    factor = len(layout.partitions[0].replicas) if layout.partitions else 1
    ring = sorted(layout.nodes)
    rows = []
    for broker in brokers:
        at = ring.index(broker)
        rows.append((ring[at:] + ring[:at])[: max(factor, 1)])
    return rows


def probe_group(topic: str) -> re.Pattern[str]:
    """Return what the names of the probes' groups match."""
    return re.compile(re.escape(topic) + r"-[0-9]+")


def choose_group(
    topic: str, broker: int, coordinators: Sequence[int], before: str | None
) -> str | None:
    """Return the group to commit to: its coordinator is the broker, so that no other one is timed.

    `before` stays while that holds or nobody leads its partition. None where the broker coordinates no group. Where
    it can't be told who does (`coordinators` is empty), it is one group a broker.
    """
    if not coordinators:
        return f"{topic}-{broker % GROUPS}"
    if before is not None and _coordinator(before, coordinators) in (broker, NO_LEADER):
        return before
    names = (f"{topic}-{number}" for number in range(GROUPS))
    return next((name for name in names if _coordinator(name, coordinators) == broker), None)


def _coordinator(group: str, leaders: Sequence[int]) -> int:
    """Return the group's coordinator, as Kafka chooses it (GroupCoordinatorService.partitionFor)."""
    return leaders[(abs(java_hash(group)) & 0x7FFFFFFF) % len(leaders)]


def java_hash(text: str) -> int:
    """Return what Java's String.hashCode gives: a signed number of 32 bits, made of UTF-16 units."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for first in range(0, len(units), 2):
        value = (31 * value + int.from_bytes(units[first : first + 2])) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value
