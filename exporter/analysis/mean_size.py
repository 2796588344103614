"""The mean size of the messages that were seen lately."""

from __future__ import annotations

RECENT_SIZES = 100
"""Messages over which a mean size is taken, about: few enough that a change shows soon."""


class MeanSize:
    """The mean size of the messages that were seen lately."""

    __slots__ = ("_count", "_total")

    def __init__(self) -> None:
        self._count = 0.0
        self._total = 0.0

    def add(self, count: int, total: int) -> None:
        """Take messages and their bytes; older ones fade."""
        self._count += count
        self._total += total
        if self._count > RECENT_SIZES:
            fade = RECENT_SIZES / self._count
            self._count *= fade
            self._total *= fade

    @property
    def mean(self) -> float | None:
        """Bytes a message; None while none was seen."""
        return round(self._total / self._count, 1) if self._count else None
