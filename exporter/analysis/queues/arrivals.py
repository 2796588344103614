"""How many messages came into a queue, from counts that a broker takes at different moments.

RabbitMQ counts publishes and acknowledgements each for itself, every 5 s: at one look they may be so far apart. So totals are
compared, never single movements, and only with what can't be too large.
"""

from __future__ import annotations

from collections import deque

TICK = 6.0
"""Seconds by which two counts of one queue may be apart, with something to spare."""
WINDOW = 2.5 * TICK
"""Seconds after which a difference between two counts is no accident of their moments."""


class Arrivals:
    """How many messages came in: as many as were published, or more, where they came in another way.

    A dead letter is not counted as a publish; that it came shows in what was processed and what still waits.
    """

    __slots__ = ("_low", "_moves", "_published", "_since", "value")

    def __init__(self, there: int) -> None:
        """`there` waited at the first look."""
        self.value: int = there
        self._published: int = there
        self._since: float | None = None
        self._low = 0
        self._moves: deque[tuple[float, int]] = deque()

    def published(self, count: int, consumed: int, now: float) -> int:
        """Take how many more were published, and consumed; return how many more came."""
        slack = self._lately(max(count, consumed), now)
        self._published += count
        came = max(self._published - self.value, 0)
        self.value += came
        self._rebase(slack, now)
        return came

    def at_least(self, total: int) -> int:
        """Take how many must have come in all; return how many more came than was known."""
        came = max(total - self.value, 0)
        self.value += came
        return came

    def _rebase(self, slack: int, now: float) -> None:
        """What came in another way for good is the base of what will be published."""
        behind = self.value - self._published
        if self._since is None:
            self._since, self._low = now, behind
        self._low = min(self._low, behind)
        if now - self._since >= WINDOW:
            self._published += max(self._low - slack, 0)
            self._since = None

    def _lately(self, moved: int, now: float) -> int:
        """Return how many messages moved in about two ticks: so many may lie between two counts."""
        moves = self._moves
        if moved:
            moves.append((now, moved))
        while len(moves) > 1 and now - moves[0][0] > 2 * TICK:
            moves.popleft()
        return 1 + sum(count for _, count in moves)
