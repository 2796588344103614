"""What happened in one step."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from exporter.load.steps import Step

SAMPLE = 50_000
"""Latencies that are kept; of more, as many by chance."""


@dataclass(frozen=True)
class Result:
    """One step's figures. Latencies are in seconds from sending to the end of processing, None where nothing was processed."""

    step: Step
    seconds: float
    sent: int
    refused: int
    """Messages that the broker did not take."""
    processed: int
    given_back: int
    """Deliveries that consumers gave back, as the step wanted."""
    errors: int
    """Times that a consumer lost its connection."""
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    longest: float | None

    @property
    def error_rate(self) -> float:
        """Part of what came to an end that ended badly, wanted or not: refused, given back, a connection lost."""
        bad = self.refused + self.given_back + self.errors
        return bad / (self.processed + bad) if bad else 0.0


@dataclass
class StepTally:
    """Counts; whoever uses it from several threads sees to it that one at a time does."""

    sent: int = 0
    refused: int = 0
    processed: int = 0
    given_back: int = 0
    errors: int = 0
    _sum: float = 0.0
    _longest: float = 0.0
    _sample: list[float] = field(default_factory=list)

    def count(self, **more: int) -> None:
        """Add to counters."""
        for name, number in more.items():
            setattr(self, name, getattr(self, name) + number)

    def done(self, latency: float) -> None:
        """Count a message that was processed, `latency` seconds after it was sent."""
        self.processed += 1
        self._sum += latency
        self._longest = max(self._longest, latency)
        if len(self._sample) < SAMPLE:
            self._sample.append(latency)
        elif (place := random.randrange(self.processed)) < SAMPLE:  # noqa: S311 - statistics
            self._sample[place] = latency

    def result(self, step: Step, seconds: float) -> Result:
        """Return the figures of the step, which took so long."""
        ordered = sorted(self._sample)

        def quantile(part: float) -> float | None:
            return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else None

        return Result(
            step=step,
            seconds=seconds,
            sent=self.sent,
            refused=self.refused,
            processed=self.processed,
            given_back=self.given_back,
            errors=self.errors,
            mean=self._sum / self.processed if self.processed else None,
            p50=quantile(0.5),
            p95=quantile(0.95),
            p99=quantile(0.99),
            longest=self._longest if ordered else None,
        )
