"""The vocabulary: what collectors observe, and what every part of the exporter agrees on.

Imports nothing of the project. Observations are handed over whole and never changed afterwards, so they may be
read from any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, get_args

Reason = Literal["timeout", "unreachable", "unauthorized", "partial", "invalid", "internal"]
REASONS: tuple[Reason, ...] = get_args(Reason)
GroupState = Literal[
    "unknown", "preparing_rebalance", "completing_rebalance", "stable", "dead", "empty"
]
GROUP_STATES: tuple[GroupState, ...] = get_args(GroupState)
Method = Literal["time_index", "record", "head", "percentile", "estimate"]
"""How an age was found."""
Stage = Literal["publish", "receive", "ack"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""What of a probe is timed: the broker's acknowledgement, the receipt, the commit."""
ProbeResult = Literal["sent", "received", "lost", "failed"]
PROBE_RESULTS: tuple[ProbeResult, ...] = get_args(ProbeResult)
TimestampAnomaly = Literal["future", "missing", "unreadable"]
TIMESTAMP_ANOMALIES: tuple[TimestampAnomaly, ...] = get_args(TimestampAnomaly)
Status = Literal[
    "unknown",
    "uncommitted",
    "past_end",
    "rewound",
    "abandoned",
    "stopped",
    "stalled",
    "lagging",
    "falling_behind",
    "retry_loop",
    "ok",
]
STATUSES: tuple[Status, ...] = get_args(Status)
"""How a subscription stands."""
CauseName = Literal[
    "past_end",
    "paused",
    "no_consumers",
    "open_transaction",
    "rebalancing",
    "unassigned_partitions",
    "retry_loop",
    "uneven_partitions",
    "large_messages",
    "too_few_consumers",
    "traffic_surge",
    "slow_consumers",
]
"""Why there is a backlog."""
HiddenKind = Literal["share", "streams", "other", "empty_id", "unreadable_id"]
HIDDEN_KINDS: tuple[HiddenKind, ...] = get_args(HiddenKind)
"""Kinds of groups that may exist without a way to read them; `other` is share or streams, and which is not known."""
NOBODY: frozenset[GroupState] = frozenset({"empty", "dead"})
"""States of a group without members."""


class Words(NamedTuple):
    """What the users of a system call things, where their word is not the common one."""

    part: str = "partition"
    """A part of a destination."""
    parts: str | None = None
    """Several of them; None adds an s."""
    paused_destination: str = "the destination"
    """What is paused if nobody gets messages of the destination."""
    paused_group: str = "the group, or its destination,"
    """What is paused if one group gets none."""


COMMON_WORDS = Words()


class CollectError(Exception):
    """A task could not be done at all; the message says what holds and what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Problem:
    """A part of an answer that is missing: what could not be read, and why."""

    reason: Reason
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Log:
    """A destination that is a log (a Kafka topic), read at one moment.

    The lists are indexed by partition number. None is a partition that could not be read.
    `stable` is the last stable offset, where it was asked for.
    """

    start: Sequence[int | None]
    end: Sequence[int | None]
    stable: Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Roster:
    """Which nodes belong to a source, by one answer of it."""

    at: float
    """When the source was asked, on the monotonic clock: another number is another answer."""
    nodes: Mapping[str, str]
    """Name of each node that the answer lists, to what the node keeps under another name (a broker's id)."""
    absent: frozenset[str] | None
    """The same of nodes that belong to the source and are not listed, since they are down. None where the answer can't tell."""

    def lacks(self, name: str, identity: str) -> bool:
        """Whether no node of that name belongs to the source any more: it was removed, or has another name."""
        if name in self.nodes:
            return False
        return identity in self.nodes.values() or self.is_removed(identity)

    def is_removed(self, identity: str) -> bool:
        """Whether the node is neither listed, by whatever name, nor down."""
        listed = identity in self.nodes.values()
        return not listed and self.absent is not None and identity not in self.absent


class Positions(NamedTuple):
    """What one group has committed: destination to partition to offset; None is an unreadable one."""

    group: str
    offsets: Mapping[str, Mapping[int, int | None]]


@dataclass(frozen=True, slots=True)
class LogBacklog:
    """One look at a source whose destinations are logs."""

    logs: Mapping[str, Log]
    """Destinations that exist now."""
    positions: Mapping[str, Positions]
    """Groups that were read; a group without offsets has an empty mapping."""
    states: Mapping[str, GroupState]
    """Groups that are listed now, read or not. Empty where groups are configured by name."""
    logs_complete: bool
    """Whether a destination's absence from `logs` means that it does not exist."""
    groups_complete: bool
    """Whether a group's absence from `states` or `positions` means that it does not exist."""
    read_committed: frozenset[str] = frozenset()
    """Groups whose log ends at the last stable offset."""
    drained: Mapping[tuple[str, int, bool], tuple[int, int]] = field(default_factory=dict)
    """(destination, partition, read committed) to (from, end): no record can be read in between."""
    gaps: frozenset[str] = frozenset()
    """Destinations where offsets without a record were seen or are possible (compacted, transactions)."""
    recreated: frozenset[str] = frozenset()
    """Destinations that were deleted and created again since the last poll."""
    nodes: Mapping[str, bool] = field(default_factory=dict)
    """Brokers, by name, to whether they answered."""
    roster: Roster | None = None
    """Which brokers belong to the cluster."""
    shared: frozenset[str] = frozenset()
    """Groups of which any number of members read the same partition."""
    subscribing: frozenset[str] = frozenset()
    """Groups without members whose last members subscribed to topics: each partition belonged to one of them."""
    vague: frozenset[tuple[str, str]] = frozenset()
    """(group, destination) whose oldest message may be older than the one that the age goes by."""
    groups_not_shown: Mapping[str, int] = field(default_factory=dict)
    """Kind (one of `HIDDEN_KINDS`) to how many groups of it exist and cannot be read."""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """A group's members at one look."""

    state: GroupState
    members: frozenset[str]
    """Member ids."""
    readers: Mapping[str, int]
    """Destination to how many members read it."""
    assigned: Mapping[str, frozenset[int]]
    """Destination to its partitions that are assigned to a member."""
    assignment: int
    """A fingerprint of who reads what: it differs after a rebalance that changed something."""
    unassigned: frozenset[str] = frozenset()
    """Members that have no partition of any destination."""


@dataclass(frozen=True, slots=True)
class Memberships:
    """Groups that were described, by group; the others are as they were."""

    groups: Mapping[str, GroupMembers]
    problems: Sequence[Problem] = ()


class Retention(NamedTuple):
    """When a log's messages are deleted; None is never."""

    seconds: float | None
    """Age of a message."""
    size: int | None
    """Bytes of a partition."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """Facts that change seldom."""

    retention: Mapping[str, Retention] = field(default_factory=dict)
    """By destination, where it is known."""
    problems: Sequence[Problem] = ()


class Stamps(NamedTuple):
    """When the oldest unread messages of one subscription were enqueued: three columns, a partition a row.

    A partition that lags and is not among them is one whose time is not known.
    """

    partitions: Sequence[int]
    times: Sequence[float]
    """Unix time in seconds. +inf where there is no unread message after all."""
    errors: Sequence[float]
    """Upper bound in seconds on the error of the time; negative if it is not known."""
    method: Method


@dataclass(frozen=True, slots=True)
class LogTimes:
    """What is known of time at one look at a source whose destinations are logs."""

    at: float
    """When the positions were read, in Unix time."""
    stamps: Mapping[tuple[str, str], Stamps]
    """(group, destination) to its times; subscriptions without lag may be missing."""
    latencies: Mapping[tuple[str, str], Sequence[float]]
    """(group, destination), those that are followed, to seconds from enqueue to consumption; one a movement."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Destination to how many messages were read since the last look, and their bytes."""
    anomalies: Mapping[TimestampAnomaly, int] = field(default_factory=dict)
    """Timestamps that were newly found to be wrong."""
    problems: Sequence[Problem] = ()


class NodeProbe(NamedTuple):
    """What became of one probe of one node. Times are in seconds from the sending; None is one that did not come."""

    node: str
    sent: bool
    """Whether there was a way to send it."""
    publish: float | None
    receive: float | None
    ack: float | None


@dataclass(frozen=True, slots=True)
class Probes:
    """One round of probes."""

    probes: Sequence[NodeProbe]
    problems: Sequence[Problem] = ()
    roster: Roster | None = None
    """Which nodes belong to the source; None where that is not known."""
    resting: frozenset[str] = frozenset()
    """Nodes that take no clients on purpose, so that nothing is known of how they pass messages on."""


class Place(NamedTuple):
    """Where messages wait for one subscription: a queue, or an nsqd's part of a channel. None where a name does not apply."""

    vhost: str | None
    destination: str
    group: str | None
    partition: str | None


class Depth(NamedTuple):
    """What waits in one place at one look; None is what could not be read."""

    place: Place
    lag: int | None
    unacknowledged: int | None = None
    deferred: int | None = None
    paused: bool = False
    """Whether its messages are kept from its consumers on purpose."""
    old: float = 0.0
    """Seconds for which the broker has known it, on average."""


class Counts(NamedTuple):
    """What a broker has counted in one place, each number since the broker's `epoch`; None is what it does not count."""

    place: Place
    outstanding: int
    """Messages enqueued and not yet processed at the moment of the counts, deferred ones included."""
    enqueued: int | None
    processed: int | None
    """Messages that consumers finished; None where that is what was enqueued less what is outstanding."""
    redelivered: int | None
    consumers: int | None
    head_age: float | None = None
    """Seconds since the timestamp that its producer gave to the message at the head."""
    wait: float | None = None
    """Seconds from enqueue to finish of the slowest messages lately, as the broker measured them."""
    dropped: int | None = None
    """Messages that the broker dropped unconsumed; None if it does not count them."""
    epoch: int = 0
    """Another number is another life of the broker's counters."""
    deliveries: int = 0
    """Deliveries that the broker has counted."""
    every_protocol: bool = True
    """Whether the broker counts what all its clients do, by whatever protocol."""
    replay: int | None = None
    """Where the place is a log: messages that do not wait now, and will again if the consumers restart. None elsewhere."""


class Produced(NamedTuple):
    """Messages that a destination, or a node's part of it, has taken in since the broker's `epoch`."""

    vhost: str | None
    destination: str
    partition: str | None
    total: int
    size: int | None
    """Their bytes, where they are counted."""
    epoch: int = 0


class StreamOffsets(NamedTuple):
    """Where one consumer stands in a destination that is a log, and where the log ends; None is not known."""

    place: Place
    committed: int
    end: int
    start: int | None = None
    is_upper_bound: bool = False
    """Whether offsets in between may hold no message."""


@dataclass(frozen=True, slots=True)
class QueueBacklog:
    """One look at a source whose destinations are queues."""

    at: float
    """When the source was asked, on the monotonic clock, which all processes share."""
    depths: Sequence[Depth]
    counts: Sequence[Counts] = ()
    produced: Sequence[Produced] = ()
    streams: Sequence[StreamOffsets] = ()
    whole: frozenset[str | None] = frozenset()
    """Partitions that were read to the last place: what is missing there does not exist. {None} for the whole source."""
    vanished: frozenset[str] = frozenset()
    """Partitions whose node is no part of the source any more."""
    destinations: frozenset[tuple[str | None, str, str | None]] = frozenset()
    """vhost, destination and partition of each that was read, whether somebody subscribes to it or not."""
    nodes: Mapping[str, bool] | None = None
    """Nodes, by name, to whether they answered; None where that can't be asked."""
    roster: Roster | None = None
    """Which nodes belong to the source; None where that is not known."""
    alarms: Sequence[str] = ()
    """What keeps producers from publishing, in words."""
    notices: Sequence[str] = ()
    """What else people should know of the source, in words."""
    unreadable: int = 0
    """Rows of the replies that were left out, in whole or in part, because a field was not what it must be."""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """What the brokers have counted, where that is asked for apart from the backlog."""

    at: float
    """When the source was asked, on the monotonic clock."""
    counts: Sequence[Counts]
    produced: Sequence[Produced] = ()
    streams: Sequence[StreamOffsets] = ()
    sizes: Mapping[tuple[str | None, str], float] = field(default_factory=dict)
    """(vhost, destination) to the mean bytes of the messages that wait."""
    unreadable: int = 0
    """Rows of the replies that were left out because a field was not what it must be."""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a discovery found that is kept in the collector: only what is missing is told."""

    unreadable: int = 0
    """Rows of replies that were left out because a field was not what it must be."""
    problems: Sequence[Problem] = ()


Observation = (
    LogBacklog | Memberships | Discovery | LogTimes | Probes | QueueBacklog | QueueCounts | Facts
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`: a feature, whether the source can serve it, and what to do if not."""

    feature: str
    ok: bool
    detail: str
    required: bool = False


class Deadline(Protocol):
    """How long a task may still take."""

    def remaining(self) -> float:
        """Seconds, never negative."""
        ...


class Until:
    """A deadline on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds, never negative."""
        return max(self._end - time.monotonic(), 0.0)


class Collector(Protocol):
    """Reads one source. Each task runs in its own thread, one run of it at a time."""

    system: str
    tasks: Mapping[str, Callable[[Deadline], Observation]]
    follows: Mapping[str, str]
    """Tasks that run right after another one, whatever became of it, to the one before."""

    def due_early(self, task: str) -> bool:
        """Whether the task has a reason to run before its time."""
        ...

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        ...

    def close(self) -> None:
        """Leave nothing behind on the brokers, as far as that takes no more than about a second, and let go of them.

        A task that is under way may fail.
        """
        ...
