"""Ages on a page, held against the times at which records were enqueued."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.exporter import Exporter, Scrape

Key = tuple[str, str, int]
"""Group, topic and partition."""
Sub = tuple[str, str]
Heads = Mapping[Key, float | None]
"""When the oldest unread record was enqueued, in Unix time; None where there is none."""

ROUNDING = 0.002
"""Seconds: ages and bounds are told to the millisecond."""
STALE = 15.0
"""Seconds for which the ages of a page may have been true, on a busy machine."""


def tolerance(age: float) -> float:
    """How far an age may be off, in seconds, as is configured by default."""
    return max(1.0, 0.01 * age)


@dataclass
class Ages:
    """What a page says of one source."""

    at: float
    """When the positions were read, in Unix time."""
    ages: dict[Key, float] = field(default_factory=dict)
    bounds: dict[Sub, float] = field(default_factory=dict)
    """The uncertainty."""
    methods: dict[Sub, list[str]] = field(default_factory=dict)

    def age(self, head: float | None) -> float:
        """The true age of what was enqueued then."""
        return 0.0 if head is None else max(self.at - head, 0.0)

    def of(self, heads: Heads) -> dict[Key, float]:
        """The true ages."""
        return {key: self.age(head) for key, head in heads.items()}

    def wrong(self, heads: Heads) -> dict[Key, tuple[float | None, float]]:
        """Partitions whose age is further off than is tolerated: the age, and the true one."""
        return {
            key: (self.ages.get(key), true)
            for key, true in self.of(heads).items()
            if key not in self.ages or abs(self.ages[key] - true) > tolerance(true) + ROUNDING
        }

    def inexact(self, heads: Heads) -> dict[Key, tuple[float | None, float]]:
        """The same for ages that are not exact."""
        return {
            key: (self.ages.get(key), true)
            for key, true in self.of(heads).items()
            if key not in self.ages or abs(self.ages[key] - true) > ROUNDING
        }

    def lies(self, heads: Heads) -> dict[Sub, tuple[float, float, float]]:
        """Subscriptions whose largest age is further off than they say: it, the true one, and what they say.

        Of subscriptions that are on the page and whose heads are all known.
        """
        largest: dict[Sub, tuple[float, float]] = {}
        for (group, topic, partition), true in self.of(heads).items():
            said = self.ages.get((group, topic, partition))
            if said is not None:
                before = largest.get((group, topic), (0.0, 0.0))
                largest[group, topic] = (max(said, before[0]), max(true, before[1]))
        return {
            sub: (said, true, self.bounds[sub])
            for sub, (said, true) in largest.items()
            if sub in self.bounds and abs(said - true) > self.bounds[sub] + ROUNDING
        }


@dataclass(frozen=True)
class Clock:
    """One position whose age every method knows exactly: by it the moment of a look is told.

    The first record of a topic; a lookup of 0 answers it.
    """

    group: str
    topic: str
    head: float


def scrape_some(exporter: Exporter, source: str, *metrics: str) -> Scrape:
    """What a page says of one source in these metrics; a whole page takes longer to parse than to make."""
    answer = exporter.get("/metrics", Accept="text/plain", **{"Accept-Encoding": "identity"})
    answer.raise_for_status()
    mark = f'source="{source}"'
    lines = [
        line
        for line in answer.content.decode().split("\n")
        if line.startswith(metrics) and mark in line
    ]
    return Scrape("\n".join([*lines, ""]), text=True)


def scrape_ages(exporter: Exporter, clock: Clock, source: str) -> Ages | None:
    """What the daemon says now of the source; None before it says anything. It must not be old."""
    before = time.time()
    found = parse_ages(scrape_some(exporter, source, "mq_lag_seconds"), clock)
    if found is not None:
        assert before - STALE <= found.at <= time.time()
    return found


def parse_ages(page: Scrape, clock: Clock) -> Ages | None:
    """What a page of one source says."""
    said = page.value("mq_lag_seconds", group=clock.group, destination=clock.topic)
    if said is None:
        return None
    found = Ages(clock.head + said)
    for labels, value in page.find("mq_lag_seconds").items():
        names = dict(labels)
        # -1 is a source that shows subscriptions only.
        key = (names["group"], names["destination"], int(names.get("partition", -1)))
        found.ages[key] = value
    for labels, value in page.find("mq_lag_seconds_uncertainty").items():
        names = dict(labels)
        found.bounds[names["group"], names["destination"]] = value
    for labels, value in page.find("mq_lag_seconds_method").items():
        names = dict(labels)
        assert value == 1
        found.methods.setdefault((names["group"], names["destination"]), []).append(names["method"])
    return found
