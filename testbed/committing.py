"""Commits offsets as fast as the broker takes them, and knows when each one was committed."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from testbed.background import Background
from testbed.exporter import Scrape


class Bounds(NamedTuple):
    """The smallest and the largest offset that a group can have."""

    least: int
    most: int


class Committing(Background):
    """Commits offset 1, 2, 3, … on every partition of a topic, for a group without members."""

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int, last: int) -> None:
        """`last` is the last offset to commit."""
        super().__init__()
        self.group = group
        self.pause_seconds = 0.0
        """Time between two commits; it may be changed while the block runs."""
        self.topic, self.partitions = topic, partitions
        self._last = last
        self._sent: list[float] = []
        self._acknowledged: list[float] = []
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False}
        )

    @property
    def committed(self) -> int:
        """The offset that was committed last."""
        return len(self._acknowledged)

    def bounds(self, since: float, until: float) -> Bounds:
        """Return which offsets a reader may find that reads between these Unix times."""
        return Bounds(
            bisect_right(self._acknowledged, since),
            bisect_right(self._sent, until),
        )

    def _run(self) -> None:
        while self.committed < self._last and not self._stopping.wait(self.pause_seconds):
            offset = self.committed + 1
            places = [TopicPartition(self.topic, p, offset) for p in range(self.partitions)]
            self._sent.append(time.time())
            self._consumer.commit(offsets=places, asynchronous=False)
            self._acknowledged.append(time.time())

    def __exit__(self, *given: object) -> None:
        try:
            super().__exit__(*given)  # type: ignore[arg-type]
        finally:
            self._consumer.close()


def read_since(page: Scrape, source: str) -> float:
    """Return the Unix time from which on the offsets of the page were read, as the page says."""
    labels = {"source": source, "task": "backlog"}
    ended = page.value("mq_collect_last_success_timestamp_seconds", **labels)
    took = page.value("mq_collect_duration_seconds", **labels)
    assert ended is not None
    assert took is not None
    return ended - took


def wrong_lags(
    page: Scrape, source: str, groups: Iterable[Committing], messages: int, scraped_at: float
) -> list[str]:
    """Return the lags that the groups did not have when the page says that they were read.

    Each partition has so many messages. `scraped_at` is when the scrape ended.
    """
    since = read_since(page, source)
    lags = page.lags(source)
    wrong = []
    for each in groups:
        least, most = each.bounds(since, scraped_at)
        for partition in range(each.partitions):
            lag = lags.get((each.group, each.topic, partition))
            if lag is None or not messages - most <= lag <= messages - least:
                expected = f"{messages - most} to {messages - least}"
                wrong.append(f"{each.group}, partition {partition}: {lag}, not {expected}")
    return wrong
