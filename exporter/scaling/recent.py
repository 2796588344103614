"""Rates over the last polls, which follow a change of the load sooner than the rate window."""

from __future__ import annotations

from collections import deque

from exporter.scaling.load import Load

SECONDS = 30.0


class RecentRates:
    """Produce and consume rate over the last `SECONDS`."""

    __slots__ = ("_points", "consumed", "produced")

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, int]] = deque()
        self.produced: float | None = None
        self.consumed: float | None = None

    def observe(self, load: Load) -> None:
        """Add one poll. Rates are None after the first one."""
        if load.produced is None or load.consumed is None:
            self._points.clear()
            self.produced = self.consumed = None
            return
        self._points.append((load.at, load.produced, load.consumed))
        while len(self._points) > 1 and load.at - self._points[1][0] >= SECONDS:
            self._points.popleft()
        at, produced, consumed = self._points[0]
        passed = load.at - at
        if passed > 0:
            self.produced = max(load.produced - produced, 0) / passed
            self.consumed = max(load.consumed - consumed, 0) / passed
