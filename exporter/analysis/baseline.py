"""How a subscription usually fares: what its present is compared with to find what has changed."""

from __future__ import annotations

import math


class Baseline:
    """Means over the recent time in which there was no backlog, older ones fading.

    While there is one it stands still, so that it tells of the time before.
    """

    __slots__ = ("_at", "consumed", "consumers", "produced", "seconds", "size")

    def __init__(self) -> None:
        self._at: float | None = None
        self.seconds = 0.0
        """How long it was learned."""
        self.produced = 0.0
        self.consumed = 0.0
        """Messages a second."""
        self.consumers: float | None = None
        self.size: float | None = None
        """Bytes a message."""

    def learn(
        self,
        at: float,
        produced: float,
        consumed: float,
        consumers: int | None,
        size: float | None,
        *,
        memory: float,
    ) -> None:
        """Take one healthy look; what is `memory` seconds old has faded to a third."""
        before, self._at = self._at, at
        if before is None or at <= before:
            return
        passed = at - before
        # A mean of all there was, until there was more than is remembered.
        self.seconds += passed
        weight = max(1.0 - math.exp(-passed / memory), passed / self.seconds)
        self.produced += weight * (produced - self.produced)
        self.consumed += weight * (consumed - self.consumed)
        if consumers is not None:
            self.consumers = (
                consumers
                if self.consumers is None
                else self.consumers + weight * (consumers - self.consumers)
            )
        if size is not None:
            self.size = size if self.size is None else self.size + weight * (size - self.size)

    def pause(self) -> None:
        """Learn nothing of the time until the next healthy look."""
        self._at = None

    @property
    def each(self) -> float | None:
        """Messages a second of each consumer; None where there was none, or their number is not known."""
        return self.consumed / self.consumers if self.consumers else None
