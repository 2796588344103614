"""What the daemon and a collector's process say to each other; both are this program, so it is pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import Reason, System


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: what to read, and how to log."""

    system: System
    settings: KafkaSettings
    log_format: Literal["json", "console"]
    log_level: str


@dataclass(frozen=True, slots=True)
class Request:
    """Run a task, or `check`, within so many seconds."""

    number: int
    task: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: an observation or findings, or the reason and message of a failure."""

    number: int
    value: Any = None
    failure: tuple[Reason, str] | None = None
    early: frozenset[str] = frozenset()
    """Tasks that have a reason to run before their time."""
