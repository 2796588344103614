"""Time between the movements of a healthy subscription's position."""

from __future__ import annotations

STOP_SECONDS = 300.0
"""Default: a position that has not moved for longer counts as stopped."""
RECENT = 8
"""Maximum number of movements that are kept; at least half of them are kept."""
SLACK = 1.5
"""A position may stay still for this multiple of its usual time between movements."""
LONGEST = 6 * 3600.0
"""Upper limit in seconds: a healthy group commits more often."""


class CommitGaps:
    """Follows the position of one subscription and keeps the longest recent gap between movements.

    A gap begins with a movement, or with the last poll at which no message was waiting. Waiting
    for messages is not a delay of the group.
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
        """The longest recent gap in seconds, at most `stop`; 0 until a gap was observed."""
        return min(max(self._longest, self._before), self.stop)

    @property
    def stop(self) -> float:
        """Seconds after which this position counts as stopped.

        Longer than configured if the position usually moves less often. One gap longer than
        `configured` was a stop. Of two recent ones, the shorter is the usual gap.
        """
        if self._long is None:
            return self.configured
        usual = sorted(self._long)[-2]
        return max(self.configured, min(SLACK * usual, LONGEST))

    def observe(self, now: float, *, moved: bool, waiting: bool) -> None:
        """Record whether the position moved since the last poll, and whether messages wait now."""
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
