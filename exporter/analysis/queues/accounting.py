"""Whether a broker counts everything that goes into a queue, and out of it."""

from __future__ import annotations

from collections import deque

from exporter.model import Counts

MEMORY = 60.0
"""Seconds for which an uncounted departure says that departures are not counted."""
LASTING = 15.0
"""Seconds. RabbitMQ's counters may lag by less; what was not counted for longer stays uncounted."""


class Side:
    """One side of a queue: what comes in, or what goes out."""

    __slots__ = ("_resumed_at", "_uncounted_since", "known")

    def __init__(self) -> None:
        self.known = True
        """Whether it is counted now."""
        self._uncounted_since: float | None = None
        self._resumed_at: float | None = None

    def set(self, at: float, *, known: bool) -> None:
        """Take what holds from `at` on."""
        if not known and self._uncounted_since is None:
            self._uncounted_since = at
        elif known and self._uncounted_since is not None:
            if at - self._uncounted_since > LASTING:
                self._resumed_at = at
            self._uncounted_since = None
        self.known = known

    def is_complete(self, at: float, window: float) -> bool:
        """Tell whether everything in the last `window` seconds was counted."""
        if not self.known:
            return False
        return self._resumed_at is None or at - self._resumed_at >= window


class Accounting:
    """Follows one queue's counters from look to look.

    RabbitMQ 4 counts publishes and deliveries of AMQP 0-9-1 clients only, 3.12 and 3.13 do not count
    those of MQTT, and with `management.rates_mode = none` no version counts any. So a counter that
    does not move means nothing by itself. Without consumers nothing can be consumed. With consumers,
    messages that leave while no delivery is counted are evidence that consumption is not counted.
    """

    __slots__ = (
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
        """Messages by which the backlog fell from look to look."""
        self.stirred = 0
        """How often the number of unacknowledged messages changed."""
        self._departed: tuple[tuple[float, int, int, int], ...] = ()
        """Of the last looks: the time, and how many had fallen, left and departed by then."""
        self._credit, self._credit_at = 0, 0.0
        """Deliveries counted lately whose messages may be seen to leave later, and when the last was counted."""
        self.consumed = Side()
        self.produced = Side()
        self._left_at: deque[float] = deque(maxlen=2)
        """When messages were last seen to leave without a counted delivery."""
        self._published_at: float | None = None

    def departed(self, left: int, at: float) -> int:
        """Return how many messages were seen to leave since the last call; `left` have in all, at the least.

        A departure is seen in the depth (`fallen`) and in the counts (`left`). One may show it up to
        `LASTING` seconds after the other, so the larger of the two counts, over that time.
        """
        looks = self._departed
        if not looks:
            self._departed = ((at, self.fallen, left, 0),)
            return max(self.fallen, left)
        while len(looks) > 1 and at - looks[1][0] > LASTING:
            looks = looks[1:]
        _, fallen_then, left_then, departed_then = looks[0]
        before = looks[-1][3]
        departed = max(before, departed_then + max(self.fallen - fallen_then, left - left_then))
        self._departed = (*looks, (at, self.fallen, left, departed))
        return departed - before

    def observe(self, before: Counts | None, now: Counts, departed: int, at: float) -> None:
        """Take one look; `departed` messages were seen to leave since the last one."""
        if before is not None and now.enqueued != before.enqueued:
            self._published_at = at
        self._note(before, now, departed, at)
        if now.every_protocol or not _had_consumers(before, now):
            consumed = produced = True
        elif not now.deliveries and not now.enqueued:
            consumed = produced = False
        else:
            # Where deliveries were counted before, a single departure may be a purge or an expiry.
            needed = 2 if now.deliveries else 1
            consumed = sum(_is_recent(left, at) for left in self._left_at) < needed
            produced = consumed or _is_recent(self._published_at, at)
        self.consumed.set(at, known=consumed)
        self.produced.set(at, known=produced)

    def _note(self, before: Counts | None, now: Counts, departed: int, at: float) -> None:
        """Note that messages left, and forget it where it is no evidence."""
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
            # The number of consumers may be as old as other counts, so the last departures stay.
            while left_at and at - left_at[0] > LASTING:
                left_at.popleft()


def _is_recent(then: float | None, at: float) -> bool:
    return then is not None and at - then <= MEMORY


class Departures:
    """Messages that are known to have left while nothing counts them: the least that was consumed."""

    __slots__ = ("_since", "_steps")

    def __init__(self, since: float) -> None:
        """`since` is when the first of them can have left."""
        self._since = since
        self._steps: deque[tuple[float, int]] = deque()

    def add(self, at: float, left: int, window: float) -> None:
        """Add what left since the last time, and forget what is older than `window` seconds."""
        self._steps.append((at, left))
        while self._steps and at - self._steps[0][0] > window:
            self._since = self._steps.popleft()[0]

    def rate(self) -> float | None:
        """Return messages a second, over at most the window; None after a single look."""
        passed = self._steps[-1][0] - self._since if self._steps else 0.0
        return sum(left for _, left in self._steps) / passed if passed > 0 else None


def _had_consumers(before: Counts | None, now: Counts) -> bool:
    """Tell whether the queue may have had consumers since the last look; None is not known."""
    return now.consumers != 0 or (before is not None and before.consumers != 0)


def _delivered(before: Counts, now: Counts) -> int:
    """Return how many deliveries were counted; 1 if they can only be seen to have been."""
    processed = (now.processed or 0) - (before.processed or 0)
    delivered = max(now.deliveries - before.deliveries, processed)
    return max(delivered, int(now.deliveries != before.deliveries or processed != 0))
