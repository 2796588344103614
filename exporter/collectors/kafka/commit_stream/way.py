"""Where committed offsets are read, and what that depends on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Literal

import structlog
from confluent_kafka.admin import ClusterMetadata, TopicMetadata

from exporter.collectors.kafka.commit_stream.choice import Load, is_worth_it
from exporter.collectors.kafka.commit_stream.topic_ends import TopicEnd
from exporter.collectors.kafka.topics import OFFSETS_TOPIC

VERIFY_SECONDS = 600.0
"""Each group's offsets are verified once in this time."""
DENIED_SECONDS = 600.0
"""After this time without the right to read the topic it is tried again."""
RIGHT = f"give the user Read on the topic {OFFSETS_TOPIC}"


class Way:
    """The choice of one source between the topic and the coordinators."""

    def __init__(self, source: str, mode: Literal["auto", "admin", "stream"]) -> None:
        self.mode = mode
        self.obstacle = ""
        """Why the topic cannot be read."""
        self.interval = 10.0
        """Seconds between the last two polls."""
        self.positions = 0
        """Number of committed offsets in the last poll."""
        self.asked_share = 0.0
        """Fraction of the groups whose coordinator had to be asked in the last poll."""
        self._commits_per_second = math.inf
        self._seen: tuple[float, Mapping[int, TopicEnd]] | None = None
        """When the ends of the topic were read in the last poll, and they."""
        self._denied_until = -math.inf
        self._said = ""
        self._log = structlog.get_logger(__name__).bind(source=source)

    def may_follow(self, groups: int, *, following: bool) -> bool:
        """Return whether to look at the topic at all, whatever its rate of commits is."""
        if self.mode == "auto" and not is_worth_it(self._load(groups, 0.0), following=following):
            self.say("coordinators", "few groups")
            return False
        return self.mode != "admin"

    def topic(self, metadata: ClusterMetadata) -> TopicMetadata | None:
        """Return the topic; None if the user may not read it."""
        topic = metadata.topics.get(OFFSETS_TOPIC)
        if topic is None:
            self.obstacle = f"{RIGHT}, and Describe"
        elif time.monotonic() >= self._denied_until:
            self.obstacle = ""
        if self.obstacle:
            self.say("coordinators", self.obstacle)
            return None
        return topic

    def measure(self, now: float, ends: Mapping[int, TopicEnd]) -> None:
        """Measure the rate of commits since the last poll."""
        if self._seen is not None:
            at, before = self._seen
            self.interval = max(now - at, 0.1)
            written = sum(max(each.end - before.get(p, each).end, 0) for p, each in ends.items())
            self._commits_per_second = written / self.interval
        self._seen = now, ends

    def follows(self, groups: int, *, following: bool) -> bool:
        """Return whether to follow the topic."""
        if self.mode == "stream":
            return True
        if is_worth_it(self._load(groups, self._commits_per_second), following=following):
            return True
        if math.isfinite(self._commits_per_second):
            rate = f"{self._commits_per_second:.0f} commits per second"
            self.say("coordinators", f"{groups} groups, {rate}")
        return False

    def deny(self, why: str) -> None:
        """Note that the user may not read the topic."""
        self._denied_until = time.monotonic() + DENIED_SECONDS
        self.obstacle = why
        self.say("coordinators", why)

    def renew(self) -> None:
        """Try again what was denied."""
        self._denied_until = -math.inf

    def say(self, way: str, why: str) -> None:
        """Log a change."""
        if way != self._said:
            self._said = way
            self._log.info("offsets.read_from", way=way, why=why)

    def _load(self, groups: int, commits_per_second: float) -> Load:
        commits = commits_per_second * self.interval
        return Load(
            groups, self.positions, commits, self.interval / VERIFY_SECONDS + self.asked_share
        )
