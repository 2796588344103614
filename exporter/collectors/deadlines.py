"""Deadlines for a part of a task."""

from __future__ import annotations

from exporter.model import Deadline


class Share:
    """A deadline that ends before another one does."""

    def __init__(self, whole: Deadline, part: float) -> None:
        """`part` is the share of the time that is left now."""
        self._whole = whole
        self._reserve = whole.remaining() * (1.0 - part)

    def remaining(self) -> float:
        """Seconds, never negative."""
        return max(self._whole.remaining() - self._reserve, 0.0)
