"""The last hour of a subscription, for the sparklines on the page."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

POINTS = 60
FIRST_STEP, LAST_STEP = 3.75, 60.0
"""Seconds between two points. The step starts short and doubles when the points are full."""

BRIDGED_SECONDS = 90.0
"""Between points that are at most this far apart, the last values are repeated. Otherwise those in
between are unknown. Where nothing happens, there is a point each 30 s only."""


class Point(NamedTuple):
    """The values of one step; None is unknown.

    Lag and age are the maximum of the step, so that peaks stay visible. Rates are the last ones,
    because they are means already.
    """

    lag_messages: float | None
    lag_seconds: float | None
    produced_messages_per_second: float | None
    consumed_messages_per_second: float | None


WIDTH = len(Point._fields)
PEAKS = 2
"""How many of a point's values are maxima; they come first."""


class History:
    """The points of one subscription. Takes one kilobyte after an hour, and less before."""

    __slots__ = ("_last", "_step", "_values")

    def __init__(self) -> None:
        self._step = FIRST_STEP
        self._last: int | None = None
        """Number of the newest step, counted from time 0."""
        self._values = array("f")
        """The values of all points in one array, the oldest first; NaN is unknown."""

    def observe(self, at: float, point: Point) -> None:
        """Record the values at `at`, in monotonic seconds."""
        while self._is_too_short(at):
            self._fold()
        number = int(at // self._step)
        if self._last is not None and number <= self._last:
            self._merge(point)
            return
        self._bridge(0 if self._last is None else number - self._last - 1)
        self._values.extend(math.nan if value is None else value for value in point)
        self._last = number
        del self._values[: -POINTS * WIDTH]

    def seen(self, columns: Iterable[str], now: float, clock: float) -> dict[str, Any]:
        """Return some columns JSON-ready, with the step and the Unix time of the first point.

        `clock` is the Unix time at `now`.
        """
        count = len(self._values) // WIDTH
        first = 0.0 if self._last is None else (self._last - count + 1) * self._step
        return {
            "step_seconds": self._step,
            "start": round(clock - now + first, 3),
            **{name: list(self._column(Point._fields.index(name))) for name in columns},
        }

    def _column(self, index: int) -> Iterator[float | None]:
        for value in self._values[index::WIDTH]:
            yield None if math.isnan(value) else _short(value)

    def _merge(self, point: Point) -> None:
        start = len(self._values) - WIDTH
        for index, value in enumerate(point):
            if value is not None:
                known = self._values[start + index]
                is_less = index < PEAKS and known >= value
                self._values[start + index] = known if is_less else value

    def _bridge(self, missed: int) -> None:
        """Add points for steps without a poll."""
        known = missed * self._step <= BRIDGED_SECONDS
        between = self._values[-WIDTH:] if known else array("f", [math.nan] * WIDTH)
        for _ in range(min(missed, POINTS)):
            self._values.extend(between)

    def _is_too_short(self, at: float) -> bool:
        if self._last is None or self._step >= LAST_STEP:
            return False
        first = self._last - len(self._values) // WIDTH + 1
        return at // self._step - first >= POINTS

    def _fold(self) -> None:
        """Double the step: merge each two points."""
        values, last, step = self._values, self._last or 0, self._step
        count = len(values) // WIDTH
        self._values, self._last, self._step = array("f"), None, 2 * step
        for row in range(count):
            point = values[row * WIDTH : (row + 1) * WIDTH]
            known = Point(*(None if math.isnan(value) else value for value in point))
            self.observe((last - count + 1 + row) * step, known)


def _short(value: float) -> float:
    """Round to the precision that is visible. A 32-bit float has seven digits."""
    return round(value) if abs(value) >= 100 else round(value, 3)  # noqa: PLR2004 - three digits and more
