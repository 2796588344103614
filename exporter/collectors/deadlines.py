"""How long a task, or a part of it, may take."""

from __future__ import annotations

from exporter.model import Deadline

CHEAP_SECONDS = 0.1
"""Time of a look at the backlog up to which another one may be taken before its time: some 500 queues."""


class Share:
    """A deadline that ends before another one does."""

    def __init__(self, whole: Deadline, part: float) -> None:
        """`part` is the share of the time that is left now."""
        self._whole = whole
        self._reserve = whole.remaining() * (1.0 - part)

    def remaining(self) -> float:
        """Seconds, never negative."""
        return max(self._whole.remaining() - self._reserve, 0.0)
