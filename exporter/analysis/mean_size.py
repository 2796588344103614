"""Mean size of recent messages."""

from __future__ import annotations

RECENT_SIZES = 100
"""About how many messages the mean covers. Few, so that a change shows soon."""


class MeanSize:
    """Mean size of recent messages."""

    __slots__ = ("_count", "_total")

    def __init__(self) -> None:
        self._count = 0.0
        self._total = 0.0

    def add(self, count: int, total: int) -> None:
        """Add messages and their bytes. Older messages lose weight."""
        self._count += count
        self._total += total
        if self._count > RECENT_SIZES:
            fade = RECENT_SIZES / self._count
            self._count *= fade
            self._total *= fade

    @property
    def mean(self) -> float | None:
        """Bytes a message; None before the first message."""
        return round(self._total / self._count, 1) if self._count else None
