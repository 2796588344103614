"""The input and the output of the rules for causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from exporter.judgement import texts
from exporter.judgement.baseline import Baseline
from exporter.judgement.departures import Departure
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
    """All facts about a subscription that has a backlog."""

    evidence: Evidence
    thresholds: Thresholds
    baseline: Baseline | None
    """The healthy time before; None if it was too short."""
    departure: Departure | None
    still: float
    """Seconds for which nothing has moved although messages waited."""
    idle: float
    """Seconds for which nothing has moved, whether messages waited or not."""
    peak: tuple[float, float] | None
    """Highest produce rate since the backlog began, and when, on the clock of `evidence.at`."""
    consumed: int
    redelivered: int
    """Increase of both counters over the trend's span."""
    rewinds: int
    """Recent movements back of the position. Several close to each other count as one."""
    memory: float
    """The span of `rewinds` in seconds."""
    replayed: bool = False
    """Whether the backlog exists because the position was moved back."""
    loop: RetryLoop | None = None
    """Messages that fail repeatedly; None if there are none."""

    def when(self, at: float) -> str:
        """Format a time on the clock of `evidence.at`."""
        return texts.moment(self.evidence.clock - (self.evidence.at - at), self.evidence.clock)

    @property
    def rate_per_consumer(self) -> float | None:
        """Messages a second of each consumer now."""
        rate, consumers = self.evidence.consumed_rate, self.evidence.consumers
        return rate / consumers if rate is not None and consumers else None

    @property
    def usual(self) -> Baseline | None:
        """The healthy time before, if messages were consumed in it."""
        return self.baseline if self.baseline is not None and self.baseline.consumed > 0 else None
