"""What the daemon and a collector's process say to each other; both are this program, so it is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from exporter.collectors.process.hazards import Suspicion
from exporter.collectors.settings import Settings
from exporter.model import Reason

CLOSE = "close"
"""What is asked instead of a task when it is the last request."""
READY = -1
"""The number of the answer that nobody asked for: the process has started."""
NOTE = -2
"""The number of another one: the value is a `hazards.Attempt`."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: what to read, and how to log."""

    collector: str
    """What makes the collector, as "module:name"."""
    settings: Settings
    log_format: Literal["json", "console"]
    log_level: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that this source's process has besides those of all."""
    suspicions: Mapping[str, Suspicion] = field(default_factory=dict)
    """Parts of the source that may end the process."""


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """Run a task, `check` or `CLOSE`, until then."""

    number: int
    task: str
    until: float
    """On the monotonic clock, which all processes share."""


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """What came of a request: an observation or findings, or the reason and message of a failure."""

    number: int
    value: Any = None
    failure: tuple[Reason, str] | None = None
    early: frozenset[str] = frozenset()
    """Tasks that have a reason to run before their time."""
    lines_dropped: int = 0
    """Lines of its log that the process could not write since the answer before."""
