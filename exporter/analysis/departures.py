"""How many messages came into a queue and how many have left it, from counts that a broker takes at different moments.

RabbitMQ counts publishes, acknowledgements and what waits each for itself, every 5 s: at one look they may be so far apart. So
totals are compared, never single movements, and what two counts say differently is believed only when it lasts.
"""

from __future__ import annotations

from collections import deque

TICK = 6.0
"""Seconds by which two counts of one queue may be apart, with something to spare."""
WINDOW = 2.5 * TICK
"""Seconds after which a difference between two counts is no accident of their moments."""


class Drift:
    """By how much one count leads another, all the time, over a window of time."""

    __slots__ = ("_high", "_low", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._low = self._high = 0.0

    def look(self, difference: float, now: float) -> float:
        """Take a difference; return what of it has lasted, once a window is over, else 0."""
        if self._since is None:
            self._since, self._low, self._high = now, difference, difference
            return 0.0
        self._low, self._high = min(self._low, difference), max(self._high, difference)
        if now - self._since < WINDOW:
            return 0.0
        self._since = None
        return self._low if self._low > 0 else min(self._high, 0.0)


class Lately:
    """How many messages moved lately: so many may lie between two counts."""

    __slots__ = ("_moves",)

    def __init__(self) -> None:
        self._moves: deque[tuple[float, int]] = deque()

    def look(self, moved: int, now: float) -> int:
        """Take a movement, and return the sum of those of about two ticks."""
        moves = self._moves
        if moved:
            moves.append((now, moved))
        while len(moves) > 1 and now - moves[0][0] > 2 * TICK:
            moves.popleft()
        return 1 + sum(count for _, count in moves)


class Arrivals:
    """How many messages came in: as many as were published, or more, where they came in another way.

    A dead letter is not counted as a publish; that it came shows in what waits and what was processed.
    """

    __slots__ = ("_drift", "_lately", "_published", "value")

    def __init__(self, there: int) -> None:
        """`there` waited at the first look."""
        self.value: int = there
        self._published: int = there
        self._drift = Drift()
        self._lately = Lately()

    def look(self, published: int, least: int, consumed: int, now: float) -> int:
        """Take one look and return how many more came.

        So many more were `published` and `consumed` since the look before; `least` must have come in all.
        """
        slack = self._lately.look(max(published, consumed), now)
        self._published += published
        found = max(self.value, self._published, least)
        # What came in another way for good is the base of what will be published.
        lasting = int(self._drift.look(found - self._published, now)) - slack
        self._published += max(lasting, 0)
        came, self.value = found - self.value, found
        return came


class Departures:
    """How many messages have left: those that consumers finished, and those that went in other ways.

    What consumers finished is a smooth count that misses what expired, was dropped, rejected or purged. What came in less
    what waits misses nothing, and is off by what moves between the moments of the two. So the first is followed as long
    as the second does not contradict it for good.
    """

    __slots__ = ("_drift", "_lately", "_leaked", "_offset", "value")

    def __init__(self) -> None:
        self.value = 0
        self._offset = 0
        self._drift = Drift()
        self._leaked: float | None = None
        """When messages were last found to have left in another way."""
        self._lately = Lately()

    def least_came(self, processed: int, outstanding: int) -> int:
        """Return how many messages must have come in: those that left, by the count of consumers, and those that wait."""
        return processed + self._offset + outstanding

    def look(
        self, *, came: int, outstanding: int, processed: int, moved: int, leaks: bool, now: float
    ) -> int:
        """Take one look and return the departures, which never fall.

        `came` and `processed` are totals since the first look, `outstanding` is what waits now, `moved` the larger of
        both movements since the last look. `leaks` says that messages are known to leave in other ways.
        """
        balance = came - outstanding
        beyond = balance - (processed + self._offset)
        slack = self._lately.look(moved, now)
        lasting = self._drift.look(beyond, now)
        if abs(beyond) > 2 * slack:
            lasting = beyond  # a purge, or counters that began anew: no accident
        if lasting:
            self._offset += int(lasting)
            if lasting > slack / 2:
                self._leaked = now
        by_balance = (
            leaks
            or outstanding == 0
            or (self._leaked is not None and now - self._leaked < 4 * WINDOW)
        )
        found = balance if by_balance else processed + self._offset
        self.value = min(max(found, self.value), came)
        return self.value
