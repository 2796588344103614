"""The interface of a collector, and the deadlines of its tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from exporter.model.logs import Discovery, LogBacklog, LogTimes, Memberships
from exporter.model.nodes import Probes
from exporter.model.queues import Facts, QueueBacklog, QueueCounts
from exporter.model.survey import Survey

Observation = (
    LogBacklog | Memberships | Discovery | LogTimes | Probes | QueueBacklog | QueueCounts | Facts
)
"""The result of a task."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`: a feature, whether the source supports it, and what to do if not."""

    feature: str
    ok: bool
    detail: str
    required: bool = False


class Deadline(Protocol):
    """How long a task may still take."""

    def remaining(self) -> float:
        """Return seconds, never negative."""
        ...


class Until:
    """A deadline on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return seconds, never negative."""
        return max(self._end - time.monotonic(), 0.0)


class Collector(Protocol):
    """Reads one source. Each task has its own thread and never runs twice at the same time."""

    system: str
    tasks: Mapping[str, Callable[[Deadline], Observation]]
    follows: Mapping[str, str]
    """Task to the task that it runs right after, whether that one succeeded or not."""

    def due_early(self, task: str) -> bool:
        """Return whether the task should run before its interval ends."""
        ...

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        ...

    def survey(self, deadline: Deadline, seconds: float) -> Survey:
        """Return all names, and which subscriptions have not moved for `seconds`.

        Raises `CollectError`.
        """
        ...

    def close(self) -> None:
        """Delete what the collector created on the brokers, then disconnect.

        Deletes only what takes no more than about a second. A task that is running may fail.
        """
        ...
