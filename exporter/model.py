"""The vocabulary: what collectors observe, and what every part of the exporter agrees on.

Imports nothing of the project. Observations are handed over whole and never changed afterwards, so they may be
read from any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

System = Literal["kafka", "rabbitmq", "nsq"]
Reason = Literal["timeout", "unreachable", "unauthorized", "partial", "invalid", "internal"]
REASONS: tuple[Reason, ...] = (
    "timeout",
    "unreachable",
    "unauthorized",
    "partial",
    "invalid",
    "internal",
)
GroupState = Literal[
    "unknown", "preparing_rebalance", "completing_rebalance", "stable", "dead", "empty"
]
GROUP_STATES: tuple[GroupState, ...] = (
    "unknown",
    "preparing_rebalance",
    "completing_rebalance",
    "stable",
    "dead",
    "empty",
)
NOBODY: frozenset[GroupState] = frozenset({"empty", "dead"})
"""States of a group without members."""


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
    """Destinations that were deleted and made anew since the last look."""
    nodes: Mapping[str, bool] = field(default_factory=dict)
    """Brokers, by name, to whether they answered."""
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


@dataclass(frozen=True, slots=True)
class Memberships:
    """Groups that were described, by group; the others are as they were."""

    groups: Mapping[str, GroupMembers]
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    """Facts that change seldom; a task returns it for its problems, the collector keeps the rest."""

    problems: Sequence[Problem] = ()


Observation = LogBacklog | Memberships | Discovery


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

    system: System
    tasks: Mapping[str, Callable[[Deadline], Observation]]

    def due_early(self, task: str) -> bool:
        """Whether the task has a reason to run before its time."""
        ...

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        ...

    def close(self) -> None:
        """Let go of the connections without waiting for a broker; a task under way may fail."""
        ...
