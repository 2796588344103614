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
        "_counted",
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
        self._counted = (0, 0)
        self.consumed = Side()
        self.produced = Side()
        self._left_at: deque[float] = deque(maxlen=2)
        """When messages were last seen to leave without a counted delivery."""
        self._published_at: float | None = None

    def departed(self, left: int) -> int:
        """Return how many messages were seen to leave since the last call; `left` have in all, at the least."""
        fallen_before, left_before = self._counted
        self._counted = (self.fallen, left)
        return max(self.fallen - fallen_before, left - left_before)

    def look(self, before: Counts | None, now: Counts, departed: int, at: float) -> None:
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
        if before is not None and _delivered(before, now):
            left_at.clear()
        elif departed > 0:
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


def _delivered(before: Counts, now: Counts) -> bool:
    return now.deliveries != before.deliveries or now.processed != before.processed
