"""Which partition probes which broker, and which group gets the commit.

Pure functions of the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import Roster

GROUPS = 64
"""Number of group names to choose from."""
KEPT = 86_400.0
"""Seconds for which a broker that leads no partition any more is still probed.

These probes fail. Brokers known to be removed are not probed.
"""
GONE_AFTER = 2
"""Rosters with a broker removed from the cluster after which it is no longer probed."""
NO_LEADER = -1


class Partition(NamedTuple):
    """Leader and replicas of one partition, as broker ids.

    The first replica is the preferred leader.
    """

    leader: int
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The cluster metadata that probes need."""

    nodes: Mapping[int, str]
    """Broker id to host:port."""
    partitions: tuple[Partition, ...] | None
    """Partitions of the probe topic; None if it is not visible."""
    coordinators: tuple[int, ...]
    """Leaders of the partitions of `__consumer_offsets`; empty if it is not visible."""


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """One broker, and the partition that probes it."""

    broker: int
    node: str
    """host:port."""
    partition: int | None
    """None if it no longer leads a partition."""
    led: float
    """Monotonic time at which it last led the partition."""


def read_layout(metadata: ClusterMetadata, topic: str) -> Layout:
    """Extract from the cluster's metadata what probes need."""
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


class RemovedBrokers:
    """The probed brokers that were removed from the cluster."""

    def __init__(self) -> None:
        self._answered: float | None = None
        self._lacking: dict[int, int] = {}

    def update(self, roster: Roster | None, targets: Iterable[ProbeTarget]) -> frozenset[int]:
        """Count a roster, and return the ids of removed brokers. The same roster counts once."""
        if roster is not None and roster.at != self._answered:
            self._answered = roster.at
            self._lacking = {
                target.broker: self._lacking.get(target.broker, 0) + 1
                for target in targets
                if roster.is_removed(str(target.broker))
            }
        return frozenset(broker for broker, n in self._lacking.items() if n >= GONE_AFTER)


def assign_targets(
    before: Iterable[ProbeTarget], layout: Layout, now: float, gone: frozenset[int] = frozenset()
) -> tuple[ProbeTarget, ...]:
    """Return the partition to probe each broker with, at monotonic time `now`.

    `gone` are removed brokers. A broker keeps its partition while it leads it, and while the
    partition has no leader, so that probes of a dead broker fail instead of disappearing. A listed
    broker that leads no partition has no target.
    """
    known = {target.broker: target for target in before if target.broker not in gone}
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
            found.append(ProbeTarget(broker, node, kept, now))
        elif broker in led:
            found.append(ProbeTarget(broker, node, led[broker], now))
        elif kept is not None or broker in waiting:
            number = waiting[broker] if kept is None else kept
            found.append(ProbeTarget(broker, node, number, old.led if old is not None else now))
    found += [
        ProbeTarget(old.broker, old.node, _kept(old, layout), old.led)
        for old in known.values()
        if old.broker not in layout.nodes and now - old.led <= KEPT
    ]
    return tuple(found)


def _leader(layout: Layout, partition: int) -> int:
    """Return the partition's leader if it is a listed broker."""
    partitions = layout.partitions or ()
    leader = partitions[partition].leader if partition < len(partitions) else NO_LEADER
    return leader if leader in layout.nodes else NO_LEADER


def _kept(old: ProbeTarget | None, layout: Layout) -> int | None:
    """Return the broker's previous partition, unless it is gone or another broker leads it."""
    if old is None or old.partition is None or old.partition >= len(layout.partitions or ()):
        return None
    return old.partition if _leader(layout, old.partition) in (old.broker, NO_LEADER) else None


def homeless(layout: Layout) -> list[int]:
    """Return the brokers that neither lead a partition of the topic nor should lead one."""
    partitions = layout.partitions or ()
    homes = {p.leader for p in partitions} | {p.replicas[0] for p in partitions if p.replicas}
    return sorted(broker for broker in layout.nodes if broker not in homes)


def orphans(layout: Layout, roster: Roster | None) -> list[int]:
    """Return the partitions with replicas on removed brokers only."""
    if roster is None:
        return []
    return [
        number
        for number, partition in enumerate(layout.partitions or ())
        if partition.replicas
        and all(roster.is_removed(str(broker)) for broker in partition.replicas)
    ]


def assignment(layout: Layout, brokers: Sequence[int]) -> list[list[int]]:
    """Return replicas of a new partition for each of `brokers`, which is the preferred leader.

    The replication factor is that of the existing partitions.
    """
    factor = len(layout.partitions[0].replicas) if layout.partitions else 1
    ring = sorted(layout.nodes)
    rows = []
    for broker in brokers:
        at = ring.index(broker)
        rows.append((ring[at:] + ring[:at])[: max(factor, 1)])
    return rows


def probe_group(topic: str) -> re.Pattern[str]:
    """Return a pattern for the names of the probes' groups."""
    return re.compile(re.escape(topic) + r"-[0-9]+")


def choose_group(
    topic: str, broker: int, coordinators: Sequence[int], before: str | None
) -> str | None:
    """Return the group to commit to, with the probed broker as coordinator: only it is timed.

    `before` is kept while that is true or its partition has no leader. None if the broker
    coordinates no group. If coordinators are unknown (`coordinators` is empty), each broker has one
    group.
    """
    if not coordinators:
        return f"{topic}-{broker % GROUPS}"
    if before is not None and _coordinator(before, coordinators) in (broker, NO_LEADER):
        return before
    names = (f"{topic}-{number}" for number in range(GROUPS))
    return next((name for name in names if _coordinator(name, coordinators) == broker), None)


def _coordinator(group: str, leaders: Sequence[int]) -> int:
    """Return the group's coordinator, as in Kafka's GroupCoordinatorService.partitionFor."""
    return leaders[(abs(java_hash(group)) & 0x7FFFFFFF) % len(leaders)]


def java_hash(text: str) -> int:
    """Return Java's String.hashCode: a signed 32-bit number computed from UTF-16 units."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for first in range(0, len(units), 2):
        value = (31 * value + int.from_bytes(units[first : first + 2])) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value
