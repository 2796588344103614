"""What the exporter's page said of one subscription, look by look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.versions.records import Records
from testbed.exporter import Scrape

BEGAN = "mq_collect_last_success_timestamp_seconds"


@dataclass(frozen=True)
class Look:
    """One page's numbers; None is what it did not have. Times are UNIX seconds."""

    at: float
    """When the page was asked for."""
    read_at: float
    """When the exporter began to read the backlog that the page shows."""
    aged_at: float
    """When it began to read what the age comes from."""
    lag: float | None
    age: float | None
    consumers: float | None
    produced: float | None
    """Counted since the exporter's start; so is `consumed`."""
    consumed: float | None
    produced_rate: float | None
    """Messages a second; so is `consumed_rate`."""
    consumed_rate: float | None


@dataclass(frozen=True)
class Names:
    """How the page names one subscription, and the tasks that its numbers come from."""

    labels: Mapping[str, str]
    age_task: str

    def look(self, page: Scrape, at: float) -> Look:
        """Return what a page says that was asked for at `at`."""
        destination = {"destination": self.labels["destination"]}

        def total(metric: str, labels: Mapping[str, str] = self.labels) -> float | None:
            found = page.find(metric, **labels)
            return sum(found.values()) if found else None

        return Look(
            at=at,
            read_at=page.value(BEGAN, task="backlog") or at,
            aged_at=page.value(BEGAN, task=self.age_task) or at,
            lag=total("mq_lag_messages"),
            age=max(page.find("mq_lag_seconds", **self.labels).values(), default=None),
            consumers=total("mq_consumers"),
            produced=total("mq_produced_messages_total", destination),
            consumed=total("mq_consumed_messages_total"),
            produced_rate=total("mq_produced_messages_per_second", destination),
            consumed_rate=total("mq_consumed_messages_per_second"),
        )


@dataclass(frozen=True)
class Probes:
    """What became of the exporter's own messages, all nodes together."""

    success: Sequence[float]
    """The last of each node."""
    sent: float
    received: float
    bad: float
    """Lost and failed ones."""
    mean_seconds: float | None
    """From sending to receiving."""
    seconds: float
    """How long the exporter had been sending them."""

    @classmethod
    def of(cls, page: Scrape, seconds: float) -> Probes:
        """Return what a page says, `seconds` after the exporter's start."""

        def messages(result: str) -> float:
            return sum(page.find("mq_probe_messages_total", result=result).values())

        counted = sum(page.find("mq_probe_latency_seconds_count", stage="receive").values())
        total = sum(page.find("mq_probe_latency_seconds_sum", stage="receive").values())
        return cls(
            success=tuple(page.find("mq_probe_success").values()),
            sent=messages("sent"),
            received=messages("received"),
            bad=messages("lost") + messages("failed"),
            mean_seconds=total / counted if counted else None,
            seconds=seconds,
        )


@dataclass(frozen=True)
class Limits:
    """How far the exporter's numbers may be off, as the documentation says."""

    lag: int
    """Messages, at rest."""
    mean_age: float
    """Seconds, on average under load."""
    age: float
    """Seconds, at rest: one value."""
    rate: float
    """Part of the true rate."""


@dataclass(frozen=True)
class Watched:
    """Everything about one subscription in one run."""

    kind: str
    records: Records
    before: Look
    """Before the first message of the load."""
    since: Mapping[str, float]
    """When the exporter first had what was `produced`, and what was `consumed`; UNIX seconds."""
    load: Sequence[Look]
    """One a second while messages came and went."""
    rest: Look
    """When nothing moved: producers had ended, and consumers were there and did nothing."""
    end: Look
    """When everything had been consumed, and one of the consumers had left."""
    consumers: int
    """Under load and at rest."""
    consumers_at_end: int
    probes: Probes
    limits: Limits
