"""Samples of the exporter's values of one subscription."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.versions.records import Records
from testbed.exporter import Scrape

BEGAN = "mq_collect_last_success_timestamp_seconds"


@dataclass(frozen=True)
class Sample:
    """The values of one scrape; None if absent. Times are in Unix time."""

    at: float
    """When the scrape began."""
    read_at: float
    """When the exporter began to read the backlog."""
    aged_at: float
    """When it began to read the data for the age."""
    lag: float | None
    age: float | None
    consumers: float | None
    produced: float | None
    """Since the exporter's start, like `consumed`."""
    consumed: float | None
    produced_rate: float | None
    """Messages a second, like `consumed_rate`."""
    consumed_rate: float | None


@dataclass(frozen=True)
class Names:
    """The labels of one subscription, and the task that reads its age."""

    labels: Mapping[str, str]
    age_task: str

    def sample(self, scrape: Scrape, at: float) -> Sample:
        """Return the values of a scrape that began at `at`."""
        destination = {"destination": self.labels["destination"]}

        def total(metric: str, labels: Mapping[str, str] = self.labels) -> float | None:
            found = scrape.find(metric, **labels)
            return sum(found.values()) if found else None

        return Sample(
            at=at,
            read_at=scrape.value(BEGAN, task="backlog") or at,
            aged_at=scrape.value(BEGAN, task=self.age_task) or at,
            lag=total("mq_lag_messages"),
            age=max(scrape.find("mq_lag_seconds", **self.labels).values(), default=None),
            consumers=total("mq_consumers"),
            produced=total("mq_produced_messages_total", destination),
            consumed=total("mq_consumed_messages_total"),
            produced_rate=total("mq_produced_messages_per_second", destination),
            consumed_rate=total("mq_consumed_messages_per_second"),
        )


@dataclass(frozen=True)
class Probes:
    """Results of the exporter's probes, summed over all nodes."""

    success: Sequence[float]
    """The last one of each node."""
    sent: float
    received: float
    bad: float
    """Lost and failed probes."""
    mean_seconds: float | None
    """From sending to receiving."""
    seconds: float
    """For how long the exporter had been sending them."""

    @classmethod
    def of(cls, scrape: Scrape, seconds: float) -> Probes:
        """Return the results of a scrape, `seconds` after the exporter's start."""

        def messages(result: str) -> float:
            return sum(scrape.find("mq_probe_messages_total", result=result).values())

        counted = sum(scrape.find("mq_probe_latency_seconds_count", stage="receive").values())
        total = sum(scrape.find("mq_probe_latency_seconds_sum", stage="receive").values())
        return cls(
            success=tuple(scrape.find("mq_probe_success").values()),
            sent=messages("sent"),
            received=messages("received"),
            bad=messages("lost") + messages("failed"),
            mean_seconds=total / counted if counted else None,
            seconds=seconds,
        )


@dataclass(frozen=True)
class Limits:
    """Maximum errors of the exporter's values, as documented."""

    lag: int
    """Messages, at rest."""
    mean_age: float
    """Seconds, mean under load."""
    age: float
    """Seconds, at rest, of a single value."""
    rate: float
    """Fraction of the true rate."""


@dataclass(frozen=True)
class Watched:
    """The samples and the records of one subscription in one run."""

    kind: str
    records: Records
    before: Sample
    """Before the first message of the load."""
    since: Mapping[str, float]
    """When the exporter first had the counters `produced` and `consumed`, in Unix time."""
    load: Sequence[Sample]
    """One sample a second under load."""
    rest: Sample
    """After the producers stopped and while the consumers paused."""
    end: Sample
    """After everything was consumed and one of the consumers left."""
    consumers: int
    """Number under load and at rest."""
    consumers_at_end: int
    probes: Probes
    limits: Limits
