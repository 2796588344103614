"""What the rules for causes get, and what they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from exporter.judgement import words
from exporter.judgement.baseline import Baseline
from exporter.judgement.departures import Leaving
from exporter.judgement.evidence import Evidence
from exporter.judgement.repeats import RetryLoop
from exporter.judgement.thresholds import Thresholds
from exporter.model import CauseName


class Cause(NamedTuple):
    """One explanation of a backlog."""

    name: CauseName
    evidence: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a subscription that has a backlog."""

    evidence: Evidence
    thresholds: Thresholds
    baseline: Baseline | None
    """How it was before; None where that was not seen for long enough."""
    leaving: Leaving | None
    still: float
    """Seconds for which nothing has moved although something waited."""
    idle: float
    """Seconds for which nothing has moved, whether something waited or not."""
    peak: tuple[float, float] | None
    """The highest rate of production since the backlog began, and when, on the clock of `evidence.at`."""
    consumed: int
    redelivered: int
    """Movements over the last while."""
    rewinds: int
    """Of late, those together counted once."""
    memory: float
    """How many seconds `rewinds` reaches back."""
    replayed: bool = False
    """Whether the backlog is there because the position was set back."""
    loop: RetryLoop | None = None
    """Messages that fail again and again; None where there are none."""

    def when(self, at: float) -> str:
        """Format a time that is on the clock of `evidence.at`."""
        return words.moment(self.evidence.clock - (self.evidence.at - at), self.evidence.clock)

    @property
    def each(self) -> float | None:
        """Messages a second of each consumer now."""
        rate, consumers = self.evidence.consumed_rate, self.evidence.consumers
        return rate / consumers if rate is not None and consumers else None

    @property
    def usual(self) -> Baseline | None:
        """How it was before, where something was consumed at all."""
        return self.baseline if self.baseline is not None and self.baseline.consumed > 0 else None
