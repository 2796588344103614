"""Sizes of the measured clusters, and their exact offsets, which are computed from the names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

CHECKS_PER_CYCLE = 200
"""New positions for which the exporter checks in a cycle whether a record follows
(`collectors/kafka/empty_tails.py`)."""


class Place(NamedTuple):
    """Identifies the position of a group in a partition."""

    group: str
    topic: str
    partition: int


class Standing(NamedTuple):
    """The true values of a position."""

    committed: int
    lag: int


@dataclass(frozen=True, slots=True)
class Scale:
    """One size: topics with equal numbers of partitions, and groups that read whole topics."""

    name: str
    topics: int
    partitions_per_topic: int
    groups: int
    topics_per_group: int
    interval_seconds: float
    """Between two measured cycles: long enough for a cycle and fifty scrapes of each kind."""
    max_series: int | None = None
    """Config key of the source; None uses the default."""

    @property
    def partitions(self) -> int:
        """Number of partitions of all topics."""
        return self.topics * self.partitions_per_topic

    @property
    def positions(self) -> int:
        """Number of group-partitions."""
        return self.groups * self.topics_per_group * self.partitions_per_topic

    @property
    def settling_cycles(self) -> int:
        """Number of cycles until every position was checked once and the cost is steady."""
        return -(-self.partitions // CHECKS_PER_CYCLE) + 2

    def topic_names(self) -> list[str]:
        """Return the names in the order of their numbers."""
        return [self._topic(number) for number in range(self.topics)]

    def group_names(self) -> list[str]:
        """Return the names in the order of their numbers."""
        return [self.group_name(number) for number in range(self.groups)]

    def logs(self) -> Iterator[tuple[str, int, int]]:
        """Yield topic, partition and number of messages."""
        for topic, name in enumerate(self.topic_names()):
            for partition in range(self.partitions_per_topic):
                yield name, partition, messages(topic * self.partitions_per_topic + partition)

    def group_standings(self, group: int) -> Iterator[tuple[Place, Standing]]:
        """Yield the positions of the group with this number."""
        name = self.group_name(group)
        for nth in range(self.topics_per_group):
            # Seven is coprime to the numbers of topics, so groups overlap and all topics are read.
            topic = (group * 7 + nth) % self.topics
            for partition in range(self.partitions_per_topic):
                log = topic * self.partitions_per_topic + partition
                end = messages(log)
                committed = position(group, log, end)
                yield (
                    Place(name, self._topic(topic), partition),
                    Standing(committed, end - committed),
                )

    def truth(self) -> dict[Place, Standing]:
        """Return the true values of all positions."""
        return dict(
            standing for group in range(self.groups) for standing in self.group_standings(group)
        )

    def _topic(self, number: int) -> str:
        return f"bench-{self.name.lower()}-topic-{number:04d}"

    def group_name(self, number: int) -> str:
        """Return the name of the group with this number."""
        return f"bench-{self.name.lower()}-group-{number:05d}"


SCALES: Mapping[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale("S", 20, 5, 20, 5, interval_seconds=2),
        Scale("M", 100, 10, 200, 25, interval_seconds=5),
        Scale("W", 100, 4, 10_000, 1, interval_seconds=12, max_series=1_000_000),
        Scale("L", 100, 10, 2_000, 25, interval_seconds=30, max_series=6_000_000),
    )
}


SPREAD_SECONDS = 3600.0
"""A partition's messages were enqueued evenly over this time before the start of the run."""


def messages(log: int) -> int:
    """Return the number of messages in a partition, numbered over all topics.

    Some partitions are empty, most have up to 199 messages, and a few have thousands.
    """
    if log % 10 == 0:
        return 0
    if log % 100 == 1:
        return 2_500
    return log * 37 % 200


def position(group: int, log: int, end: int) -> int:
    """Return a committed offset: in turn the end, the start, or in between."""
    turn = (group + log) % 3
    if turn == 0:
        return end
    if turn == 1:
        return 0
    return end * (1 + (group * 31 + log) % 96) // 97
