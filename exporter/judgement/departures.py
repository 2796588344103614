"""When consumers left a subscription."""

from __future__ import annotations

from typing import NamedTuple


class Departure(NamedTuple):
    """Consumers that left and did not come back."""

    before: int
    """Their number before the first one left."""
    now: int
    at: float
    """When the last of them left, on the clock of the polls."""


class ConsumerCount:
    """Follows the number of a subscription's consumers."""

    __slots__ = ("_before", "_left_at", "_now")

    def __init__(self) -> None:
        self._now: int | None = None
        self._before = 0
        self._left_at: float | None = None

    def observe(self, consumers: int | None, at: float, *, memory: float) -> None:
        """Record the number of consumers at `at`, in seconds on a monotonic clock.

        Consumers that left within `memory` seconds of each other count as one departure.
        """
        if consumers is None:
            return
        known, self._now = self._now, consumers
        if known is None or consumers == known:
            return
        if consumers < known:
            if self._left_at is None or at - self._left_at > memory:
                self._before = known
            self._left_at = at
        elif consumers >= self._before:
            self._left_at = None

    def accept(self, at: float, *, memory: float) -> None:
        """The subscription is healthy at `at`: forget departures older than `memory` seconds."""
        if self._left_at is not None and at - self._left_at > memory:
            self._left_at = None
            self._before = self._now or 0

    @property
    def departure(self) -> Departure | None:
        """The consumers that are missing; None if none is."""
        if self._left_at is None or self._now is None:
            return None
        return Departure(self._before, self._now, self._left_at)
