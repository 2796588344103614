"""What producers and consumers recorded: the truth for the exporter's values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Records:
    """When each message was sent and when it was processed, in Unix time; inf if never."""

    lives: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, sent: Iterable[tuple[bytes, float]], done: Mapping[bytes, float]) -> Records:
        """Join the records of the producer and of the consumers by the messages' bodies."""
        return cls(tuple((sent_at, done.get(body, math.inf)) for body, sent_at in sent))

    def lag(self, at: float) -> int:
        """Return how many messages waited at a time."""
        return sum(1 for sent, done in self.lives if sent <= at < done)

    def age(self, at: float) -> float:
        """Return for how many seconds the oldest of them had waited; 0 if there is none."""
        return at - min((sent for sent, done in self.lives if sent <= at < done), default=at)

    def sent(self, since: float, until: float) -> int:
        """Return how many were sent after `since`, up to `until`."""
        return sum(1 for sent, _ in self.lives if since < sent <= until)

    def done(self, since: float, until: float) -> int:
        """Return how many were processed after `since`, up to `until`."""
        return sum(1 for _, done in self.lives if since < done <= until)
