"""What producers and consumers themselves wrote down: the truth that the exporter's numbers are held against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Records:
    """When each message was sent, and when its consumer was done with it; UNIX seconds, infinite if it never was."""

    lives: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, sent: Iterable[tuple[bytes, float]], done: Mapping[bytes, float]) -> Records:
        """Join the producer's records with the consumers' by the messages' bodies."""
        return cls(tuple((sent_at, done.get(body, math.inf)) for body, sent_at in sent))

    def lag(self, at: float) -> int:
        """How many messages were waiting at a moment."""
        return sum(1 for sent, done in self.lives if sent <= at < done)

    def age(self, at: float) -> float:
        """For how many seconds the oldest of them had been waiting; 0 with none."""
        return at - min((sent for sent, done in self.lives if sent <= at < done), default=at)

    def sent(self, since: float, until: float) -> int:
        """How many were sent after `since`, up to `until`."""
        return sum(1 for sent, _ in self.lives if since < sent <= until)

    def done(self, since: float, until: float) -> int:
        """How many were finished after `since`, up to `until`."""
        return sum(1 for _, done in self.lives if since < done <= until)
