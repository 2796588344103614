"""Commits that repeat an offset: the consumers are alive, and process nothing.

A Kafka consumer with automatic commits, for example, commits at each interval while it polls, even
if its offset is the same as before.
"""

from __future__ import annotations

LEAST_POLLS = 3
"""Polls with a repeated commit that show that they continue."""
SILENCE_SECONDS = 60.0
"""If no commit is seen for longer, the consumers may be gone."""


class RepeatedCommits:
    """The repeated commits of a position that has not moved since the first of them."""

    __slots__ = ("_last", "_polls", "_since")

    def __init__(self, now: float) -> None:
        """Begin with the poll at `now`, in monotonic seconds, that found the first one."""
        self._since = self._last = now
        self._polls = 1

    def observe(self, now: float) -> None:
        """Add a poll that found another one. After a silence, it is the first one again."""
        if now - self._last > SILENCE_SECONDS:
            self._since, self._polls = now, 0
        self._last = now
        self._polls += 1

    def seconds(self, now: float) -> float | None:
        """Return for how long the offset has been committed again; None if it is not certain."""
        if self._polls < LEAST_POLLS or now - self._last > SILENCE_SECONDS:
            return None
        return self._last - self._since
