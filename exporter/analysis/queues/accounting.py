"""Whether a broker counts all messages that enter a queue, and all that leave it."""

from __future__ import annotations

from collections import deque

from exporter.model import Counts

MEMORY = 60.0
"""Seconds for which an uncounted departure is evidence that departures are not counted."""
LASTING = 15.0
"""RabbitMQ's counters lag by fewer seconds. What was not counted for longer stays uncounted."""


class Direction:
    """One direction of a queue: messages that enter, or messages that leave."""

    __slots__ = ("_activity", "_resumed_at", "_uncounted_since", "known")

    def __init__(self) -> None:
        self.known = True
        """Whether the broker counts it now."""
        self._uncounted_since: float | None = None
        self._resumed_at: float | None = None
        self._activity = 0

    def set(self, at: float, *, known: bool, activity: int, activity_before: int) -> None:
        """Set whether it is counted from `at` on.

        `activity` is a number that changes when messages move, `activity_before` its value at the
        poll before. If it did not change while nothing was known, nothing moved.
        """
        if not known and self._uncounted_since is None:
            self._uncounted_since, self._activity = at, activity
        elif known and self._uncounted_since is not None:
            if at - self._uncounted_since > LASTING and activity_before != self._activity:
                self._resumed_at = at
            self._uncounted_since = None
        self.known = known

    def is_complete(self, at: float, window: float) -> bool:
        """Return whether everything in the last `window` seconds was counted."""
        if not self.known:
            return False
        return self._resumed_at is None or at - self._resumed_at >= window


class Accounting:
    """Follows the counters of one queue.

    RabbitMQ 4 counts publishes and deliveries of AMQP 0-9-1 clients only, 3.12 and 3.13 do not
    count those of MQTT, and with `management.rates_mode = none` no version counts any. So a
    counter that does not move proves nothing. Without consumers nothing can be consumed. With
    consumers, messages that leave while no delivery is counted are evidence that consumption is
    not counted.
    """

    __slots__ = (
        "_activity",
        "_credit",
        "_credit_at",
        "_departed",
        "_left_at",
        "_published_at",
        "consumed",
        "fallen",
        "produced",
        "stirred",
    )

    def __init__(self) -> None:
        self.fallen = 0
        """Messages by which the backlog fell, summed over all polls."""
        self.stirred = 0
        """How often the number of unacknowledged messages changed."""
        self._activity = 0
        """A number that changes when messages move, as of the poll before."""
        self._departed: tuple[tuple[float, int, int, int], ...] = ()
        """Recent polls: the time, and the totals of fallen, left and departed messages."""
        self._credit, self._credit_at = 0, 0.0
        """Recently counted deliveries whose messages may be seen to leave later, and when the last
        one was counted."""
        self.consumed = Direction()
        self.produced = Direction()
        self._left_at: deque[float] = deque(maxlen=2)
        """When messages were last seen to leave without a counted delivery."""
        self._published_at: float | None = None

    def departed(self, left: int, at: float) -> int:
        """Return how many messages were seen to leave since the last call.

        `left` is a lower bound on how many have left in all. A departure shows in the depth
        (`fallen`) and in the counts (`left`), in one of them up to `LASTING` seconds later. So the
        result is the larger of both increases over that time.
        """
        polls = self._departed
        if not polls:
            self._departed = ((at, self.fallen, left, 0),)
            return max(self.fallen, left)
        while len(polls) > 1 and at - polls[1][0] > LASTING:
            polls = polls[1:]
        _, fallen_then, left_then, departed_then = polls[0]
        before = polls[-1][3]
        departed = max(before, departed_then + max(self.fallen - fallen_then, left - left_then))
        self._departed = (*polls, (at, self.fallen, left, departed))
        return departed - before

    def observe(self, before: Counts | None, now: Counts, departed: int, at: float) -> None:
        """Add one poll. `departed` messages were seen to leave since the last poll."""
        if before is not None and now.enqueued != before.enqueued:
            self._published_at = at
        self._note(before, now, departed, at)
        if now.every_protocol or not _had_consumers(before, now):
            consumed = produced = True
        elif not now.deliveries and not now.enqueued:
            consumed = produced = False
        else:
            # If deliveries were counted before, a single departure may be a purge or an expiry.
            needed = 2 if now.deliveries else 1
            consumed = sum(_is_recent(left, at) for left in self._left_at) < needed
            produced = consumed or _is_recent(self._published_at, at)
        activity = self.fallen + self.stirred + (now.enqueued or 0) + now.deliveries
        for side, known in ((self.consumed, consumed), (self.produced, produced)):
            side.set(at, known=known, activity=activity, activity_before=self._activity)
        self._activity = activity

    def _note(self, before: Counts | None, now: Counts, departed: int, at: float) -> None:
        """Note that messages left; drop this where it is not evidence."""
        left_at = self._left_at
        delivered = 0 if before is None else _delivered(before, now)
        if at - self._credit_at > LASTING:
            self._credit = 0
        if delivered:
            left_at.clear()
            self._credit, self._credit_at = self._credit + delivered, at
        explained = min(departed, self._credit)
        self._credit -= explained
        if not delivered and departed > explained:
            left_at.append(at)
        if not _had_consumers(before, now):
            # The number of consumers may be as old as other counts, so recent departures stay.
            while left_at and at - left_at[0] > LASTING:
                left_at.popleft()


def _is_recent(then: float | None, at: float) -> bool:
    return then is not None and at - then <= MEMORY


class UncountedOutflow:
    """Messages that left without being counted: a lower bound on consumption."""

    __slots__ = ("_since", "_steps")

    def __init__(self, since: float) -> None:
        """`since` is when the first of them can have left."""
        self._since = since
        self._steps: deque[tuple[float, int]] = deque()

    def add(self, at: float, left: int, window: float) -> None:
        """Add messages that left since the last call; drop those older than `window` seconds."""
        self._steps.append((at, left))
        while self._steps and at - self._steps[0][0] > window:
            self._since = self._steps.popleft()[0]

    def rate(self) -> float | None:
        """Return messages a second over at most the window; None after a single poll."""
        passed = self._steps[-1][0] - self._since if self._steps else 0.0
        return sum(left for _, left in self._steps) / passed if passed > 0 else None


def _had_consumers(before: Counts | None, now: Counts) -> bool:
    """Return whether the queue may have had consumers since the last poll. None is unknown."""
    return now.consumers != 0 or (before is not None and before.consumers != 0)


def _delivered(before: Counts, now: Counts) -> int:
    """Return the number of counted deliveries; at least 1 if a counter changed in any way."""
    processed = (now.processed or 0) - (before.processed or 0)
    delivered = max(now.deliveries - before.deliveries, processed)
    return max(delivered, int(now.deliveries != before.deliveries or processed != 0))
