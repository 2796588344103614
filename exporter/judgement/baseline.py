"""Rates, consumers and message size of a subscription while it was healthy."""

from __future__ import annotations

import math
from typing import NamedTuple


class HealthyPoll(NamedTuple):
    """One poll at which the subscription was healthy. None is unknown."""

    at: float
    produced: float
    consumed: float
    """Messages a second."""
    consumers: int | None
    size: float | None
    """Bytes a message."""


class Baseline:
    """Exponentially weighted means over the recent healthy time.

    A poll is added only after `delay` further seconds in which all was well, because a cause
    begins before the backlog shows. Nothing is added while there is a backlog.
    """

    __slots__ = ("_pending", "consumed", "consumers", "produced", "seconds", "size")

    def __init__(self) -> None:
        self._pending: HealthyPoll | None = None
        self.seconds = 0.0
        """For how long it has been learned."""
        self.produced = 0.0
        self.consumed = 0.0
        """Messages a second."""
        self.consumers: float | None = None
        self.size: float | None = None
        """Bytes a message."""

    def learn(self, usual: HealthyPoll, *, delay: float, memory: float) -> None:
        """Add one healthy poll. The weight of a poll falls to 1/e after `memory` seconds."""
        pending = self._pending
        if pending is None:
            self._pending = usual
            return
        passed = usual.at - pending.at
        if passed < delay or passed <= 0:
            return
        self._pending = usual
        # A plain mean until there is more history than `memory`.
        self.seconds += passed
        weight = max(1.0 - math.exp(-passed / memory), passed / self.seconds)
        self.produced += weight * (pending.produced - self.produced)
        self.consumed += weight * (pending.consumed - self.consumed)
        self.consumers = _blend(self.consumers, pending.consumers, weight)
        self.size = _blend(self.size, pending.size, weight)

    def pause(self) -> None:
        """Skip the time from the last poll that counted to the next healthy poll."""
        self._pending = None

    @property
    def rate_per_consumer(self) -> float | None:
        """Messages a second of each consumer; None without consumers or if they are not known."""
        return self.consumed / self.consumers if self.consumers else None


def _blend(known: float | None, value: float | None, weight: float) -> float | None:
    if value is None:
        return known
    return float(value) if known is None else known + weight * (value - known)
