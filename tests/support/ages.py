"""Compares exposed ages with the times at which records were enqueued."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.exporter import Exporter, Scrape

Key = tuple[str, str, int]
"""Group, topic and partition."""
Sub = tuple[str, str]
Heads = Mapping[Key, float | None]
"""When the oldest unread record was enqueued, in Unix time; None if there is none."""

ROUNDING = 0.002
"""Seconds, because ages and bounds are rounded to milliseconds."""
STALE = 15.0
"""Maximum age in seconds of the exposed values, on a busy machine."""


def tolerance(age: float) -> float:
    """Return the default tolerance of an age in seconds."""
    return max(1.0, 0.01 * age)


@dataclass
class Ages:
    """The exposed ages of one source."""

    at: float
    """When the positions were read, in Unix time."""
    ages: dict[Key, float] = field(default_factory=dict)
    bounds: dict[Sub, float] = field(default_factory=dict)
    """The exposed uncertainties."""
    methods: dict[Sub, list[str]] = field(default_factory=dict)

    def age(self, head: float | None) -> float:
        """Return the true age of a record enqueued at `head`."""
        return 0.0 if head is None else max(self.at - head, 0.0)

    def of(self, heads: Heads) -> dict[Key, float]:
        """Return the true ages."""
        return {key: self.age(head) for key, head in heads.items()}

    def wrong(self, heads: Heads) -> dict[Key, tuple[float | None, float]]:
        """Return partitions whose error exceeds the tolerance: the exposed and the true age."""
        return {
            key: (self.ages.get(key), true)
            for key, true in self.of(heads).items()
            if key not in self.ages or abs(self.ages[key] - true) > tolerance(true) + ROUNDING
        }

    def inexact(self, heads: Heads) -> dict[Key, tuple[float | None, float]]:
        """The same for all ages that are not exact."""
        return {
            key: (self.ages.get(key), true)
            for key, true in self.of(heads).items()
            if key not in self.ages or abs(self.ages[key] - true) > ROUNDING
        }

    def lies(self, heads: Heads) -> dict[Sub, tuple[float, float, float]]:
        """Return subscriptions whose largest age has a larger error than its bound.

        With the exposed age, the true age, and the bound. Considers subscriptions that are exposed
        and whose heads are all known.
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
    """A position whose age is always exact: it gives the time at which positions were read.

    It is at the first record of a topic, which a lookup of time 0 finds.
    """

    group: str
    topic: str
    head: float


def scrape_some(exporter: Exporter, source: str, *metrics: str) -> Scrape:
    """Scrape, and parse only these metrics of one source: parsing is slower than scraping."""
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
    """Return the present ages of a source; None before there are any. They must be recent."""
    before = time.time()
    found = parse_ages(scrape_some(exporter, source, "mq_lag_seconds"), clock)
    if found is not None:
        assert before - STALE <= found.at <= time.time()
    return found


def parse_ages(page: Scrape, clock: Clock) -> Ages | None:
    """Parse the ages of one source."""
    said = page.value("mq_lag_seconds", group=clock.group, destination=clock.topic)
    if said is None:
        return None
    found = Ages(clock.head + said)
    for labels, value in page.find("mq_lag_seconds").items():
        names = dict(labels)
        # -1 means a source that exposes no partitions.
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
