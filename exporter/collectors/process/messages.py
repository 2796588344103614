"""Messages between the daemon and the process of a collector.

Both run this program, so they are pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from exporter.collectors.process.hazards import Suspicion
from exporter.collectors.settings import Settings
from exporter.model import Reason

CLOSE = "close"
"""Takes the place of a task in the last request."""
SURVEY = "survey"
READY = -1
"""Number of the unrequested answer that says that the process has started."""
NOTE = -2
"""Number of an unrequested answer with a `hazards.Attempt` as its value."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: which source to read, and how to log."""

    collector: str
    """Factory of the collector, as "module:name"."""
    settings: Settings
    log_format: Literal["json", "console"]
    log_level: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables of this source's process, in addition to those of all."""
    suspicions: Mapping[str, Suspicion] = field(default_factory=dict)
    """Parts of the source that may crash the process."""


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A request to run a task, `check`, `SURVEY` or `CLOSE`."""

    number: int
    task: str
    until: float
    """Deadline on the monotonic clock, which all processes share."""
    seconds: float = 0.0
    """For `SURVEY`: how long a subscription must not have moved."""


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The answer to a request: an observation or findings, or reason and message of a failure."""

    number: int
    value: Any = None
    failure: tuple[Reason, str] | None = None
    early: frozenset[str] = frozenset()
    """Tasks that should run early."""
    lines_dropped: int = 0
    """Log lines that the process dropped since its last answer."""
