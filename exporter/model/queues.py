"""Observations of a source whose destinations are queues (RabbitMQ, NSQ)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.model.nodes import Roster
from exporter.model.problems import Problem


class Place(NamedTuple):
    """Where messages wait for one subscription: a queue, or a channel on one nsqd.

    None means that the system has no such name.
    """

    vhost: str | None
    destination: str
    group: str | None
    partition: str | None


class Depth(NamedTuple):
    """The messages that wait in one place. None is a number that could not be read."""

    place: Place
    lag: int | None
    unacknowledged: int | None = None
    deferred: int | None = None
    paused: bool = False
    """Whether delivery to its consumers is paused."""
    old: float = 0.0
    """Mean age of the number in seconds, if the broker updates it only at intervals."""


class Counts(NamedTuple):
    """A broker's counters of one place, counted since `epoch`. None is what it does not count."""

    place: Place
    outstanding: int
    """Messages enqueued and not yet processed when the counters were read, with deferred ones."""
    enqueued: int | None
    processed: int | None
    """Messages that consumers finished; None if this is `enqueued` less `outstanding`."""
    redelivered: int | None
    consumers: int | None
    head_age: float | None = None
    """Seconds since the timestamp that the producer set on the oldest message."""
    wait: float | None = None
    """Seconds from enqueue to finish of the slowest recent messages, measured by the broker."""
    dropped: int | None = None
    """Messages that the broker dropped unconsumed."""
    epoch: int = 0
    """A different value means that the broker's counters were reset."""
    deliveries: int = 0
    """Deliveries that the broker has counted."""
    single_consumer: bool = False
    """Whether only one of its consumers gets messages (a single active consumer)."""
    shared_consumers: bool = False
    """Whether its consumers read the subscription's other places, too."""
    every_protocol: bool = True
    """Whether the broker counts the messages of clients of all protocols."""
    replay: int | None = None
    """If the place is a log: messages that are read already and will wait again if the consumers
    restart. None otherwise."""


class Produced(NamedTuple):
    """Messages produced to a destination, or to its partition on one node, since `epoch`."""

    vhost: str | None
    destination: str
    partition: str | None
    total: int
    size: int | None
    """Their bytes; None if the broker does not count them."""
    epoch: int = 0


class StreamOffsets(NamedTuple):
    """The offset of one consumer in a destination that is a log, and the log's bounds."""

    place: Place
    committed: int
    end: int
    start: int | None = None
    """None if unknown."""
    is_upper_bound: bool = False
    """Whether offsets between `committed` and `end` may have no message."""


@dataclass(frozen=True, slots=True)
class QueueBacklog:
    """The result of one poll of queues."""

    at: float
    """When the source was asked, on the monotonic clock, which all processes share."""
    depths: Sequence[Depth]
    counts: Sequence[Counts] = ()
    produced: Sequence[Produced] = ()
    streams: Sequence[StreamOffsets] = ()
    whole: frozenset[str | None] = frozenset()
    """Partitions that were read completely: a place that is missing there does not exist.
    {None} means the whole source."""
    vanished: frozenset[str] = frozenset()
    """Partitions of nodes that no longer belong to the source."""
    destinations: frozenset[tuple[str | None, str, str | None]] = frozenset()
    """(vhost, destination, partition) that were read, with or without a subscription."""
    nodes: Mapping[str, bool] | None = None
    """Node name to whether it answered; None if nodes cannot be listed."""
    roster: Roster | None = None
    """The nodes that belong to the source; None if unknown."""
    alarms: Sequence[str] = ()
    """Texts: what blocks publishers."""
    notices: Sequence[str] = ()
    """Texts: other facts about the source that a person should know."""
    unreadable: int = 0
    """Rows of the responses that were ignored, in whole or in part, because a field was invalid."""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The brokers' counters, if they are read separately from the backlog."""

    at: float
    """When the source was asked, on the monotonic clock."""
    counts: Sequence[Counts]
    produced: Sequence[Produced] = ()
    streams: Sequence[StreamOffsets] = ()
    sizes: Mapping[tuple[str | None, str], float] = field(default_factory=dict)
    """(vhost, destination) to the mean bytes of the messages that wait."""
    unreadable: int = 0
    """Rows of the responses that were ignored because a field was invalid."""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The faults of a discovery. Its findings stay in the collector."""

    unreadable: int = 0
    """Rows of the responses that were ignored because a field was invalid."""
    problems: Sequence[Problem] = ()
