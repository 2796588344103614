"""A made-up Kafka cluster in which something happens: groups that keep up, fall behind, stand still or lose messages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from exporter.model import (
    Deadline,
    Discovery,
    GroupMembers,
    LogBacklog,
    LogTimes,
    Memberships,
    NodeProbe,
    Observation,
    Probes,
    Retention,
    Stamps,
)
from tests.support.observations import log, log_backlog
from tests.support.told import Told

RATE = 120.0
"""Messages a second of each partition."""
PARTITIONS = 3
KINDS = ("keeps up", "behind", "keeps up", "stalled", "keeps up", "loses", "keeps up", "keeps up")
NAMES = ("billing", "shipping", "mailer", "search-index", "fraud-check", "archive", "reports")
SETTINGS = """
thresholds:
  - {stop_seconds: 2s}
"""


@dataclass
class Busy(Told):
    """`count` subscriptions of all kinds, each of its own group on one of a few topics."""

    count: int = 5
    began: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.tasks = {
            "backlog": self._backlog,
            "latency": self._latency,
            "consumers": self._consumers,
            "discovery": self._discovery,
            "probe": self._probe,
        }
        self.follows = {"latency": "backlog"}
        self.groups = {
            f"{NAMES[index % len(NAMES)]}-{index:04}"
            if self.count > len(NAMES)
            else NAMES[index]: (
                KINDS[index % len(KINDS)],
                f"orders-{index % 4}",
            )
            for index in range(self.count)
        }

    def _seconds_behind(self, kind: str, lasted: float) -> float:
        return {"keeps up": 0.2, "behind": 0.3 * lasted, "stalled": lasted}.get(kind, 40.0 + lasted)

    def _backlog(self, _: Deadline) -> Observation:
        self.fail_if_told()
        lasted = time.time() - self.began
        end = 1_000_000 + int(RATE * lasted)
        positions: dict[str, dict[str, dict[int, int | None]]] = {}
        for group, (kind, topic) in self.groups.items():
            lag = RATE * self._seconds_behind(kind, lasted)
            lags = [
                0 if lag < 1 else int(lag * (part + 1) / PARTITIONS) for part in range(PARTITIONS)
            ]
            if kind == "stalled":
                lags = [end - 1_000_000 + part for part in range(PARTITIONS)]
            positions[group] = {topic: {part: end - lag for part, lag in enumerate(lags)}}
        topics = {topic for _, topic in self.groups.values()}
        found: LogBacklog = log_backlog(
            {topic: log(*[(0, end)] * PARTITIONS) for topic in topics},
            positions,
            nodes={"kafka-1:9092": True, "kafka-2:9092": True, "kafka-3:9092": False},
        )
        return found

    def _latency(self, _: Deadline) -> Observation:
        now = time.time()
        stamps = {
            (group, topic): Stamps(
                range(PARTITIONS),
                [now - self._seconds_behind(kind, now - self.began)] * PARTITIONS,
                [0.1] * PARTITIONS,
                "record",
            )
            for group, (kind, topic) in self.groups.items()
        }
        return LogTimes(
            now,
            {key: each._replace(partitions=list(each.partitions)) for key, each in stamps.items()},
            {},
        )

    def _consumers(self, _: Deadline) -> Observation:
        return Memberships(
            {
                group: GroupMembers(
                    state="stable",
                    members=frozenset({f"{group}-1", f"{group}-2"}),
                    readers={topic: 2},
                    assigned={topic: frozenset(range(PARTITIONS))},
                    assignment=int(time.time() - self.began) // 3 if kind == "behind" else 1,
                )
                for group, (kind, topic) in self.groups.items()
            }
        )

    def _discovery(self, _: Deadline) -> Observation:
        return Discovery({f"orders-{number}": Retention(1_200.0, None) for number in range(4)})

    def _probe(self, _: Deadline) -> Observation:
        return Probes([NodeProbe("kafka-1:9092", True, 0.002, 0.004, 0.006)])
