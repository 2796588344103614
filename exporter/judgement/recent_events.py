"""How far a counter moved in a recent span of time."""

from __future__ import annotations

from collections import deque

SLICES = 16
"""Movements within the span divided by this are stored as one."""


class RecentEvents:
    """Movement of a counter within the last `span` seconds. Stores nothing while it is constant."""

    __slots__ = ("_known", "_moves")

    def __init__(self) -> None:
        self._known: int | None = None
        self._moves: deque[tuple[float, int]] | None = None

    def observe(self, at: float, value: int, span: float) -> None:
        """Record the counter's value at `at`. The first value is not a movement."""
        known, self._known = self._known, value
        if known is not None and value > known:
            if self._moves is None:
                self._moves = deque()
            moves, moved = self._moves, value - known
            if moves and at - moves[-1][0] < span / SLICES:
                since, before = moves.pop()
                moves.append((since, before + moved))
            else:
                moves.append((at, moved))
        if self._moves is not None:
            while self._moves and at - self._moves[0][0] > span:
                self._moves.popleft()
            if not self._moves:
                self._moves = None

    @property
    def count(self) -> int:
        """Movement within the span of the last call."""
        return sum(moved for _, moved in self._moves) if self._moves else 0

    @property
    def last(self) -> float | None:
        """When the counter last moved, to within a slice of the span; None if it did not."""
        return self._moves[-1][0] if self._moves else None

    @property
    def moments(self) -> list[float]:
        """When it moved, to within a part of the span."""
        return [at for at, _ in self._moves] if self._moves else []

    @property
    def times(self) -> int:
        """In how many slices of the span it moved."""
        return len(self._moves) if self._moves else 0
