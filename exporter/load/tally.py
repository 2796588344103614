"""Counts the messages of one step."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from exporter.load.steps import Step

SAMPLE = 50_000
"""Largest number of latencies that are kept; of more, a random sample."""


@dataclass(frozen=True)
class Result:
    """The results of one step.

    Latencies are in seconds from sent to processed; None if nothing was processed. Messages of
    others count as `foreign` only.
    """

    step: Step
    seconds: float
    sent: int
    refused: int
    """Messages that the broker refused."""
    processed: int
    rejected: int
    """Deliveries that consumers rejected, as the step wants."""
    errors: int
    """How often a consumer lost its connection."""
    foreign: int
    """Consumed messages that this run did not send. They are in no other figure."""
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    longest: float | None

    @property
    def error_rate(self) -> float:
        """Fraction of all outcomes that are errors: refused, rejected, or a lost connection."""
        bad = self.refused + self.rejected + self.errors
        return bad / (self.processed + bad) if bad else 0.0


@dataclass
class StepTally:
    """Counts messages. Callers must not use it from two threads at once."""

    sent: int = 0
    refused: int = 0
    processed: int = 0
    rejected: int = 0
    errors: int = 0
    foreign: int = 0
    _sum: float = 0.0
    _longest: float = 0.0
    _sample: list[float] = field(default_factory=list)

    def count(self, **more: int) -> None:
        """Add to counters."""
        for name, number in more.items():
            setattr(self, name, getattr(self, name) + number)

    def done(self, latency: float) -> None:
        """Count a processed message and its latency in seconds."""
        self.processed += 1
        self._sum += latency
        self._longest = max(self._longest, latency)
        if len(self._sample) < SAMPLE:
            self._sample.append(latency)
        elif (place := random.randrange(self.processed)) < SAMPLE:  # noqa: S311 - statistics
            self._sample[place] = latency

    def result(self, step: Step, seconds: float) -> Result:
        """Return the results of the step, which took `seconds`."""
        ordered = sorted(self._sample)

        def quantile(part: float) -> float | None:
            return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else None

        return Result(
            step=step,
            seconds=seconds,
            sent=self.sent,
            refused=self.refused,
            processed=self.processed,
            rejected=self.rejected,
            errors=self.errors,
            foreign=self.foreign,
            mean=self._sum / self.processed if self.processed else None,
            p50=quantile(0.5),
            p95=quantile(0.95),
            p99=quantile(0.99),
            longest=self._longest if ordered else None,
        )
