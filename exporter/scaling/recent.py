"""Rates over the last polls, which follow a change of the load sooner than the rate window."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from exporter.scaling.load import Load

SECONDS = 30.0


class RecentRates:
    """Produce and consume rate over the last `SECONDS`."""

    __slots__ = ("_points", "consumed", "produced", "rising")

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, int]] = deque()
        self.produced: float | None = None
        self.consumed: float | None = None
        self.rising: float | None = None
        """Produce rate that the last two intervals between polls both reached. It follows a step of
        the load sooner than the mean, and a single burst does not raise it."""

    def observe(self, load: Load) -> None:
        """Add one poll. Rates are None after the first one."""
        if load.produced is None or load.consumed is None:
            self._points.clear()
            self.produced = self.consumed = self.rising = None
            return
        self._points.append((load.at, load.produced, load.consumed))
        self.rising = self._least_of_two()
        while len(self._points) > 1 and load.at - self._points[1][0] >= SECONDS:
            self._points.popleft()
        at, produced, consumed = self._points[0]
        passed = load.at - at
        if passed > 0:
            self.produced = max(load.produced - produced, 0) / passed
            self.consumed = max(load.consumed - consumed, 0) / passed

    @property
    def highest(self) -> float | None:
        """The larger of the produce rates; None if both are unknown."""
        known = [each for each in (self.produced, self.rising) if each is not None]
        return max(known, default=None)

    def _least_of_two(self) -> float | None:
        """Return the smaller produce rate of the last two intervals; None before there are two."""
        last = list(self._points)[-3:]
        if len(last) < 3:  # noqa: PLR2004 - two intervals have three ends
            return None
        spans = [(new[0] - old[0], new[1] - old[1]) for old, new in pairwise(last)]
        return min((count / span if span > 0 else 0.0) for span, count in spans)
