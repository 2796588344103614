"""Time between the movements of a healthy subscription's position."""

from __future__ import annotations

from exporter.model import CommitSpan

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

    __slots__ = (
        "_before",
        "_committed_at",
        "_count",
        "_has_whole",
        "_is_whole",
        "_long",
        "_longest",
        "_polled",
        "_since",
        "_since_at_most",
        "configured",
    )

    def __init__(self) -> None:
        self.configured = STOP_SECONDS
        """Seconds after which a position counts as stopped."""
        self._since: float | None = None
        self._since_at_most = 0.0
        """The poll before `_since`: the commit at which the gap began came later."""
        self._polled: float | None = None
        self._is_whole = self._has_whole = False
        """Whether the beginning of the present gap, and of any gap, was observed."""
        self._committed_at: float | None = None
        """Time of the commit at which the gap began, on the committer's clock; None if unknown."""
        self._longest = 0.0
        self._before = 0.0
        self._count = 0
        self._long: list[float] | None = None

    @property
    def longest(self) -> float:
        """The longest recent gap in seconds, at most `stop`; 0 until a gap was observed."""
        return min(max(self._longest, self._before), self.stop)

    @property
    def usual(self) -> float:
        """The same, but 0 until a gap was observed from its beginning to its end."""
        return self.longest if self._has_whole else 0.0

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

    def observe(
        self, now: float, *, moved: bool, waiting: bool, commits: CommitSpan | None = None
    ) -> None:
        """Record whether the position moved since the last poll, and whether messages wait now.

        `commits` are the times of the commits that moved it. Without them, a gap is as long as the
        time between two polls.
        """
        if moved and self._since is not None:
            self._move(self._gap(now, now - self._since, commits))
            self._has_whole = self._has_whole or self._is_whole
        if commits is not None:
            self._committed_at = commits.last
        elif moved:
            self._committed_at = None
        if moved or not waiting or self._since is None:
            self._since_at_most = now if self._polled is None else self._polled
            self._since, self._is_whole = now, moved or not waiting
        if not waiting:
            self._committed_at = None
        self._polled = now

    def _gap(self, now: float, between_polls: float, commits: CommitSpan | None) -> float:
        """Return the longest gap that ended since the last poll."""
        if commits is None:
            return between_polls
        if self._committed_at is None:
            # The first of these commits came before the others, and all came before this poll.
            ended = between_polls - (commits.last - commits.first)
        else:
            ended = commits.first - self._committed_at
        # Another coordinator may have another clock.
        return min(max(ended, commits.longest), now - self._since_at_most)

    def _move(self, gap: float) -> None:
        if self._count >= RECENT // 2:
            self._before, self._longest, self._count = self._longest, 0.0, 0
        self._longest = max(self._longest, min(gap, LONGEST))
        self._count += 1
        if self._long is not None or gap > self.configured:
            recent = [0.0] * RECENT if self._long is None else self._long
            recent = [*recent[1:], gap]
            self._long = recent if max(recent) > self.configured else None
