"""Observations of a source whose destinations are logs (Kafka topics)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.model.nodes import Roster
from exporter.model.problems import Problem
from exporter.model.vocabulary import GroupState, Method, TimestampAnomaly


@dataclass(frozen=True, slots=True)
class Log:
    """The offsets of one log.

    Lists are indexed by partition number. None means that the partition could not be read.
    """

    start: Sequence[int | None]
    end: Sequence[int | None]
    stable: Sequence[int | None]
    """Last stable offset; None if it was not requested."""


class Positions(NamedTuple):
    """The committed offsets of one group."""

    group: str
    offsets: Mapping[str, Mapping[int, int | None]]
    """Destination to partition to offset. None is an offset that could not be read."""


class CommitSpan(NamedTuple):
    """The commits that moved a subscription's offsets since the last poll, by their own times."""

    first: float
    """Unix time in seconds by the coordinator's clock."""
    last: float
    longest: float
    """The longest time in seconds between two of them; 0 if there was one."""


class Generations(NamedTuple):
    """The generations that a group had since the last poll, from the records of its coordinator.

    Each rebalance begins a new generation.
    """

    first: int
    """Of the first record."""
    is_empty: bool
    """Whether the group had no members in it."""
    last: int
    rebalances: int
    """Rebalances after the first record."""


class CommitStreamReport(NamedTuple):
    """What was read from Kafka's topic of committed offsets instead of from the coordinators."""

    following: bool = False
    """Whether the topic is followed."""
    groups: int = 0
    """Number of groups whose offsets come from the topic."""
    disagreements: int = 0
    """How often a coordinator returned other offsets, since the collector started."""
    unknown_records: int = 0
    """Records that could not be decoded, since the collector started."""


@dataclass(frozen=True, slots=True)
class LogBacklog:
    """The result of one poll of logs and committed offsets."""

    logs: Mapping[str, Log]
    """Destinations that exist now."""
    positions: Mapping[str, Positions]
    """Groups that were read. A group without offsets has an empty mapping."""
    states: Mapping[str, GroupState]
    """Groups that are listed now, read or not. Empty if groups are configured by name."""
    logs_complete: bool
    """Whether a destination that is missing in `logs` does not exist."""
    groups_complete: bool
    """Whether a group that is missing in `states` and `positions` does not exist."""
    read_committed: frozenset[str] = frozenset()
    """Groups that can read only up to the last stable offset."""
    drained: Mapping[tuple[str, int, bool], tuple[int, int]] = field(default_factory=dict)
    """(destination, partition, read committed) to (from, end): no record in between can be read."""
    gaps: frozenset[str] = frozenset()
    """Destinations that may have offsets without a record (compaction, transactions)."""
    recreated: frozenset[str] = frozenset()
    """Destinations that were deleted and created again since the last poll."""
    nodes: Mapping[str, bool] = field(default_factory=dict)
    """Broker name to whether it answered."""
    roster: Roster | None = None
    """The brokers that belong to the cluster."""
    shared: frozenset[str] = frozenset()
    """Groups in which several members can read the same partition (share groups)."""
    subscribing: frozenset[str] = frozenset()
    """Groups without members. Their last members subscribed to topics, so that each partition was
    assigned to one of them."""
    vague: frozenset[tuple[str, str]] = frozenset()
    """(group, destination) in which an older unread message may exist than the one that the age is
    computed from."""
    groups_not_shown: Mapping[str, int] = field(default_factory=dict)
    """Kind (one of `HIDDEN_KINDS`) to the number of groups that cannot be read."""
    commit_stream: CommitStreamReport | None = None
    spans: Mapping[tuple[str, str], CommitSpan] = field(default_factory=dict)
    """(group, destination) to the commits since the last poll, where their times are known."""
    repeated: Mapping[tuple[str, str], Collection[int]] = field(default_factory=dict)
    """(group, destination) to partitions that are not read to their end, and whose offset was
    committed again since the last poll."""
    generations: Mapping[str, Generations | None] = field(default_factory=dict)
    """Groups with new records of their generation; None if one of them could not be decoded."""
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """The members of one group at one poll."""

    state: GroupState
    members: frozenset[str]
    """Member ids."""
    readers: Mapping[str, int]
    """Destination to the number of members that read it."""
    assigned: Mapping[str, frozenset[int]]
    """Destination to its partitions that are assigned to a member."""
    assignment: int
    """A hash of the assignment. It changes if a rebalance changed the assignment."""
    unassigned: frozenset[str] = frozenset()
    """Members without a partition."""
    pauses: bool = False
    """Whether all members stop while the group rebalances, as with an eager assignor."""


@dataclass(frozen=True, slots=True)
class Memberships:
    """Groups that were described. Groups that are missing keep their last description."""

    groups: Mapping[str, GroupMembers]
    problems: Sequence[Problem] = ()


class Retention(NamedTuple):
    """When messages of a log are deleted; None is never."""

    seconds: float | None
    """Maximum age of a message."""
    size: int | None
    """Maximum bytes of a partition."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """Facts that rarely change."""

    retention: Mapping[str, Retention] = field(default_factory=dict)
    """By destination; a destination whose retention is unknown is missing."""
    problems: Sequence[Problem] = ()


class Stamps(NamedTuple):
    """When the oldest unread messages of one subscription were enqueued, in columns by partition.

    A partition that lags and is missing here has an unknown time.
    """

    partitions: Sequence[int]
    times: Sequence[float]
    """Unix time in seconds; +inf if the partition has no unread message after all."""
    errors: Sequence[float]
    """Upper bound in seconds on the error of the time; negative if unknown."""
    method: Method


@dataclass(frozen=True, slots=True)
class LogTimes:
    """The result of one poll of enqueue times."""

    at: float
    """When the positions were read, in Unix time."""
    stamps: Mapping[tuple[str, str], Stamps]
    """(group, destination) to its times. Subscriptions without lag may be missing."""
    latencies: Mapping[tuple[str, str], Sequence[float]]
    """(group, destination) to seconds from enqueue to consumption, one for each movement."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Destination to the number of messages read since the last poll, and their bytes."""
    anomalies: Mapping[TimestampAnomaly, int] = field(default_factory=dict)
    """Invalid timestamps found since the last poll."""
    problems: Sequence[Problem] = ()
