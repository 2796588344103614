"""How a backlog went over the last while: its lowest level and the counters, in a few slices of time."""

from __future__ import annotations

from typing import NamedTuple

SLICES = 8
OLDER, NEWER = slice(0, 3), slice(-3, None)
MIDDLE = slice(3, -3)


class _Slice(NamedTuple):
    start: float
    low: int
    """The smallest backlog seen in it."""
    consumed: int
    produced: int
    redelivered: int
    """Counters at its start."""
    moved_at: float
    """When the position had last moved before its start."""


class Trend:
    """The last `SLICES` slices, the last of them under way.

    A position that moves in steps makes a backlog that looks like a saw; its lows, over slices that are together longer than
    two steps, are what it is behind by.
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
        """Take one look; all slices together are to cover at least `span` seconds."""
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
        """Whether all of the span was seen."""
        return len(self._slices) > SLICES

    @property
    def idle(self) -> bool:
        """Whether nothing was waiting, at the lowest, all along."""
        return self.whole and not any(each.low for each in self._slices)

    def rates(
        self, at: float, consumed: int, produced: int, moved_at: float
    ) -> tuple[float, float] | None:
        """Return messages consumed and produced a second, the first from one movement to another; None where none was seen."""
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
        """Return the smallest backlog of at least the last `seconds`; None where that was not seen yet."""
        found: int | None = None
        for each in reversed(self._slices):
            found = each.low if found is None else min(found, each.low)
            if at - each.start >= seconds:
                return found
        return None

    def growth(self) -> int | None:
        """Return by how many messages the lows grew from the oldest to the newest slices; None where they did not throughout."""
        if not self.whole:
            return None
        old, middle, new = (
            min(each.low for each in self._slices[part]) for part in (OLDER, MIDDLE, NEWER)
        )
        return new - old if old < middle < new else None

    def moved(self, consumed: int, redelivered: int) -> tuple[int, int]:
        """Return the movements of the counters since the oldest slice."""
        if not self._slices:
            return 0, 0
        first = self._slices[0]
        return consumed - first.consumed, redelivered - first.redelivered
