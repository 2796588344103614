"""Number of messages that entered a queue, from counters that the broker reads at different times.

RabbitMQ updates its counters of publishes and of acknowledgements separately, every 5 s. In one
poll they may be this far apart. So totals are compared, never single increases, and only lower
bounds are used.
"""

from __future__ import annotations

from collections import deque

TICK = 6.0
"""Upper bound in seconds on the time between two counters of one poll, with some margin."""
WINDOW = 2.5 * TICK
"""A difference between two counters that lasts for so many seconds is real."""


class Arrivals:
    """Counts messages that entered a queue: those published, and those that came in another way.

    A dead letter is not counted as a publish. It shows in the messages processed and waiting.
    """

    __slots__ = ("_low", "_moves", "_published", "_since", "value")

    def __init__(self, there: int, ahead: int = 0) -> None:
        """`there` messages waited at the first poll.

        The publishes of `ahead` of them are probably not counted yet.
        """
        self.value: int = there
        self._published: int = there - ahead
        self._since: float | None = None
        self._low = 0
        self._moves: deque[tuple[float, int]] = deque()

    def add_published(self, count: int, consumed: int, now: float) -> int:
        """Add published and consumed messages; return how many entered that were not known."""
        slack = self._recent_moves(max(count, consumed), now)
        self._published += count
        came = max(self._published - self.value, 0)
        self.value += came
        self._rebase(slack, now)
        return came

    @property
    def unpublished(self) -> int:
        """Messages that are known without their publishes."""
        return max(self.value - self._published, 0)

    def raise_to(self, total: int) -> int:
        """Set a lower bound on the total; return how many entered that were not known."""
        came = max(total - self.value, 0)
        self.value += came
        return came

    def _rebase(self, slack: int, now: float) -> None:
        """Add messages that came in another way to the base for the published ones."""
        surplus = self.value - self._published
        if self._since is None:
            self._since, self._low = now, surplus
        self._low = min(self._low, surplus)
        if now - self._since >= WINDOW:
            self._published += max(self._low - slack, 0)
            self._since = None

    def _recent_moves(self, moved: int, now: float) -> int:
        """Return the messages moved in about two ticks: two counters may differ by this many."""
        moves = self._moves
        if moved:
            moves.append((now, moved))
        while len(moves) > 1 and now - moves[0][0] > 2 * TICK:
            moves.popleft()
        return 1 + sum(count for _, count in moves)
