"""Deadlines of tasks and of their parts."""

from __future__ import annotations

from exporter.model import Deadline

CHEAP_SECONDS = 0.1
"""Longest time of a backlog poll after which the next one may run early; enough for about 500
queues.
"""


class Share:
    """A deadline that ends before another one."""

    def __init__(self, whole: Deadline, part: float) -> None:
        """`part` is the fraction of the time that is left now."""
        self._whole = whole
        self._reserve = whole.remaining() * (1.0 - part)

    def remaining(self) -> float:
        """Return the seconds left, never negative."""
        return max(self._whole.remaining() - self._reserve, 0.0)
