"""How long a healthy position stands still: the gaps between the movements of a subscription's position."""

from __future__ import annotations

STOP_SECONDS = 300.0
"""A position that stood still for longer was not moving, where nobody says otherwise."""
RECENT = 8
"""Movements that are remembered, at least half of them."""
SLACK = 1.5
"""A position may stand still for so many times its usual gap."""
LONGEST = 6 * 3600.0
"""Seconds; nobody commits more seldom and calls it healthy."""


class CommitGaps:
    """Follows one subscription from look to look, and keeps the longest of the recent gaps.

    A gap begins with a movement, or with the last look at which there was nothing left to process: waiting for
    messages is no delay of the group's.
    """

    __slots__ = ("_before", "_count", "_long", "_longest", "_since", "configured")

    def __init__(self) -> None:
        self.configured = STOP_SECONDS
        """Seconds after which a position counts as stopped."""
        self._since: float | None = None
        self._longest = 0.0
        self._before = 0.0
        self._count = 0
        self._long: list[float] | None = None

    @property
    def longest(self) -> float:
        """The longest recent gap in seconds, at most `stop`; 0 until one was seen."""
        return min(max(self._longest, self._before), self.stop)

    @property
    def stop(self) -> float:
        """Seconds after which this position counts as stopped: later, where it has been seen to move more seldom.

        One gap past what is configured was a stop. Of two among the recent ones, the smaller is how it usually goes.
        """
        if self._long is None:
            return self.configured
        usual = sorted(self._long)[-2]
        return max(self.configured, min(SLACK * usual, LONGEST))

    def observe(self, now: float, *, moved: bool, waiting: bool) -> None:
        """Take one look: whether the position moved since the look before, and whether messages are waiting now."""
        if moved and self._since is not None:
            self._move(now - self._since)
        if moved or not waiting or self._since is None:
            self._since = now

    def _move(self, gap: float) -> None:
        if self._count >= RECENT // 2:
            self._before, self._longest, self._count = self._longest, 0.0, 0
        self._longest = max(self._longest, min(gap, LONGEST))
        self._count += 1
        if self._long is not None or gap > self.configured:
            recent = [0.0] * RECENT if self._long is None else self._long
            recent = [*recent[1:], gap]
            self._long = recent if max(recent) > self.configured else None
