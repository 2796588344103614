"""How a subscription usually fares: what its present is compared with to find what has changed."""

from __future__ import annotations

import math
from typing import NamedTuple


class Usual(NamedTuple):
    """One healthy look. None is what is not known."""

    at: float
    produced: float
    consumed: float
    """Messages a second."""
    consumers: int | None
    size: float | None
    """Bytes a message."""


class Baseline:
    """Means over the recent time in which there was no backlog, older ones fading.

    A look counts once it is `delay` seconds old and all was well since: what makes a backlog begins before it shows. While there
    is one, nothing is learned.
    """

    __slots__ = ("_pending", "consumed", "consumers", "produced", "seconds", "size")

    def __init__(self) -> None:
        self._pending: Usual | None = None
        self.seconds = 0.0
        """How long it was learned."""
        self.produced = 0.0
        self.consumed = 0.0
        """Messages a second."""
        self.consumers: float | None = None
        self.size: float | None = None
        """Bytes a message."""

    def learn(self, look: Usual, *, delay: float, memory: float) -> None:
        """Take one healthy look; what is `memory` seconds old has faded to a third."""
        pending = self._pending
        if pending is None:
            self._pending = look
            return
        passed = look.at - pending.at
        if passed < delay or passed <= 0:
            return
        self._pending = look
        # A mean of all there was, until there was more than is remembered.
        self.seconds += passed
        weight = max(1.0 - math.exp(-passed / memory), passed / self.seconds)
        self.produced += weight * (pending.produced - self.produced)
        self.consumed += weight * (pending.consumed - self.consumed)
        self.consumers = _blend(self.consumers, pending.consumers, weight)
        self.size = _blend(self.size, pending.size, weight)

    def pause(self) -> None:
        """Learn nothing of the time from the last look that counted until the next healthy one."""
        self._pending = None

    @property
    def each(self) -> float | None:
        """Messages a second of each consumer; None where there was none, or their number is not known."""
        return self.consumed / self.consumers if self.consumers else None


def _blend(known: float | None, value: float | None, weight: float) -> float | None:
    if value is None:
        return known
    return float(value) if known is None else known + weight * (value - known)
