"""How long a healthy position stands still: the gaps between the movements of a subscription's position."""

from __future__ import annotations

STOP_SECONDS = 300.0
"""A position that stood still for longer was not moving."""
RECENT = 8
"""Movements that are remembered, at least half of them."""


class CommitGaps:
    """Follows one subscription from look to look, and keeps the longest of the recent gaps.

    A gap begins with a movement, or with the last look at which there was nothing left to process: waiting for
    messages is no delay of the group's.
    """

    __slots__ = ("_before", "_count", "_longest", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._longest = 0.0
        self._before = 0.0
        self._count = 0

    @property
    def longest(self) -> float:
        """The longest recent gap in seconds; 0 until one was seen."""
        return max(self._longest, self._before)

    def look(self, now: float, *, moved: bool, waiting: bool) -> None:
        """Take one look: whether the position moved since the look before, and whether messages are waiting now."""
        if moved and self._since is not None:
            gap = min(now - self._since, STOP_SECONDS)
            if self._count >= RECENT // 2:
                self._before, self._longest, self._count = self._longest, 0.0, 0
            self._longest = max(self._longest, gap)
            self._count += 1
        if moved or not waiting or self._since is None:
            self._since = now
