"""The lowest backlog and the counters of the last minutes, in a few slices of time."""

from __future__ import annotations

from typing import NamedTuple

SLICES = 8
OLDER, NEWER = slice(0, 3), slice(-3, None)
MIDDLE = slice(3, -3)


class _Slice(NamedTuple):
    start: float
    low: int
    """The smallest backlog within the slice."""
    consumed: int
    produced: int
    redelivered: int
    """Counters at the start of the slice."""
    moved_at: float
    """When the position had last moved before the start of the slice."""


class Trend:
    """The last `SLICES` complete slices and the present one.

    A position that moves in steps makes a backlog with the shape of a saw. Its lows, over slices
    that together are longer than two steps, are the backlog that remains.
    """

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: list[_Slice] = []

    def observe(
        self,
        at: float,
        lag: int,
        consumed: int,
        produced: int,
        redelivered: int,
        *,
        moved_at: float,
        span: float,
    ) -> None:
        """Record one poll. All slices together cover at least `span` seconds."""
        slices = self._slices
        if slices and at - slices[-1].start < span / SLICES:
            last = slices[-1]
            if lag < last.low:
                slices[-1] = last._replace(low=lag)
            return
        slices.append(_Slice(at, lag, consumed, produced, redelivered, moved_at))
        if len(slices) > SLICES + 1:
            del slices[0]

    @property
    def whole(self) -> bool:
        """Whether the whole span was observed."""
        return len(self._slices) > SLICES

    @property
    def idle(self) -> bool:
        """Whether no message waited at the lows of all slices."""
        return self.whole and not any(each.low for each in self._slices)

    def rates(
        self, at: float, consumed: int, produced: int, moved_at: float
    ) -> tuple[float, float] | None:
        """Return messages consumed and produced a second; None if the position did not move.

        The consume rate is measured from one movement of the position to another.
        """
        if not self.whole:
            return None
        first = self._slices[0]
        if moved_at <= first.moved_at:
            return None
        return (
            (consumed - first.consumed) / (moved_at - first.moved_at),
            (produced - first.produced) / (at - first.start),
        )

    def low(self, at: float, seconds: float) -> int | None:
        """Return the smallest backlog of at least the last `seconds`; None if observed for less."""
        found: int | None = None
        for each in reversed(self._slices):
            found = each.low if found is None else min(found, each.low)
            if at - each.start >= seconds:
                return found
        return None

    def growth(self) -> int | None:
        """Return by how many messages the lows grew over the slices; None if not throughout."""
        if not self.whole:
            return None
        old, middle, new = (
            min(each.low for each in self._slices[section]) for section in (OLDER, MIDDLE, NEWER)
        )
        return new - old if old < middle < new else None

    def moved(self, consumed: int, redelivered: int) -> tuple[int, int]:
        """Return the increase of both counters since the oldest slice."""
        if not self._slices:
            return 0, 0
        first = self._slices[0]
        return consumed - first.consumed, redelivered - first.redelivered
