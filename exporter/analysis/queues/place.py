"""The state of one place where messages wait: a queue, or an nsqd's part of a channel."""

from __future__ import annotations

from typing import Final

from exporter.analysis.queues.accounting import Accounting
from exporter.analysis.queues.exact_flow import ExactFlow
from exporter.analysis.queues.flow import TOO_OLD, Flow, Moved, forward
from exporter.analysis.queues.loose_flow import STALE, LooseFlow
from exporter.model import Counts, Depth, Method

APART = 30.0
"""Seconds by which the head's timestamp and the record may differ before the timestamp is taken to mean something else."""
FRESH = 4.0
"""Seconds for which what waits is not taken from the counts, as it was read itself."""


class QueuePlace:
    """Follows one place from look to look: what waits there, and, by its flow, how old that is."""

    __slots__ = (
        "_flow",
        "_head",
        "_held",
        "_last",
        "_method",
        "_wait",
        "accounting",
        "committed",
        "consumers",
        "counted_at",
        "deferred",
        "depth_at",
        "dropped",
        "empty_at",
        "is_lost",
        "is_upper_bound",
        "label",
        "lag",
        "missing",
        "partition",
        "paused",
        "read_at",
        "unacknowledged",
    )

    def __init__(self, partition: str | None, label: str, now: float) -> None:
        self.partition: Final = partition
        self.label: Final = label
        """Text of the place's labels."""
        self.lag: int | None = None
        self.unacknowledged: int | None = None
        self.deferred: int | None = None
        self.paused = False
        self.consumers: int | None = None
        self.committed: int | None = None
        """Offset of the next message, where the place is a log."""
        self.is_upper_bound = False
        """Whether the lag counts offsets that may hold no message."""
        self.read_at = now
        """When it could last be read."""
        self.missing = 0
        """Whole looks in a row without it."""
        self.counted_at = now
        """When its counts were last read."""
        self.dropped: int | None = None
        """Messages that left unconsumed since the first poll; None if it is not known."""
        self.accounting: Final = Accounting()
        self.depth_at = now
        """The moment that `lag` is of."""
        self.empty_at: float | None = None
        """When it was last seen empty."""
        self.is_lost = False
        """Whether it could not be read at the last look, as its node was gone."""
        self._held = 0
        """How many messages it held when that was last read itself."""
        self._last: Counts | None = None
        self._flow: Flow | None = None
        """None until its broker's counts tell what came."""
        self._head: tuple[float, float] | None = None
        """When the head's timestamp was read, and the age it had then."""
        self._wait: float | None = None
        self._method: Method = "estimate"

    def depth(self, depth: Depth, now: float) -> int:
        """Take what waits now; what could not be read stays as it is. Return how many more must have come than was counted."""
        self.missing = 0
        if depth.lag is None:
            self.is_lost = True
            return 0
        is_back = self.is_lost or now - self.read_at > TOO_OLD
        self.is_lost = False
        # From reading to reading: the broker's counts may be older than the reading before them.
        held_before, self._held = self._held, depth.lag + (depth.deferred or 0)
        self.accounting.fallen += max(held_before - self._held, 0)
        self.accounting.stirred += depth.unacknowledged != self.unacknowledged
        self.lag = depth.lag
        self.depth_at = now - depth.old
        if depth.lag == 0:
            self.empty_at = now
        self.unacknowledged = depth.unacknowledged
        self.deferred = depth.deferred
        self.paused = depth.paused
        self.read_at = now
        if self._flow is None:
            return 0
        return self._flow.read(self._held, now, old=depth.old, is_back=is_back)

    def count(self, counts: Counts, at: float) -> Moved | None:
        """Take what the broker has counted; return what moved, None if it is not known.

        The first look, and one at counters that began again, show no movement.
        """
        flow = self._flow_of(counts)
        before, before_at = self._last, self.counted_at
        if flow is not None:
            counts = flow.in_order(before, counts, at)
        self._last, self.counted_at = counts, at
        self.consumers = counts.consumers
        self._wait = counts.wait
        self._head = None if counts.head_age is None else (at, counts.head_age)
        if counts.dropped is not None:
            gone = 0 if before is None else forward(before.dropped, counts.dropped)
            self.dropped = (self.dropped or 0) + gone
        if flow is None:
            return None
        departed = self.accounting.departed(flow.left, at)
        self.accounting.observe(before, counts, departed, at)
        is_counted = self.accounting.produced.known
        moved = flow.count(before, counts, self, at, every_message=is_counted)
        if moved is not None and not self.accounting.consumed.known:
            moved.left = departed
        if counts.processed is not None and is_counted:
            self._refresh(before, before_at, counts, at)
        return moved

    def _flow_of(self, counts: Counts) -> Flow | None:
        """Return the flow that the counts belong to, None where they tell nothing of it.

        It is a new one if the broker counts in another way than before.
        """
        flow = self._flow
        if counts.enqueued is None:
            if flow is not None:
                flow.end_record()
            return None
        kind = ExactFlow if counts.processed is None else LooseFlow
        if type(flow) is kind:
            return flow
        if flow is not None:
            self._last = None
        self._flow = kind()
        return self._flow

    def _refresh(self, before: Counts | None, before_at: float, counts: Counts, at: float) -> None:
        """Take what waits from the counts, if it was not read itself lately.

        If two counts that were read after the depth differ, the second one was taken after the depth too.
        """
        if before is None or before_at < self.read_at or before.outstanding == counts.outstanding:
            return
        if self.lag is None or self.is_lost or at - self.depth_at <= FRESH:
            return
        self.lag = max(counts.outstanding - (self.deferred or 0), 0)
        self.depth_at = at - STALE

    @property
    def left(self) -> int:
        """How many messages have left since the first counts, at the least."""
        return 0 if self._flow is None else self._flow.left

    @property
    def activity(self) -> int:
        """A number that changes when messages are seen to leave, or to be handed to consumers."""
        return self.accounting.fallen + self.accounting.stirred + self.left

    def age(self, now: float, wanted: Method | None) -> float | None:
        """Return the age of the oldest message not yet processed; None where it is not known.

        `wanted` is `percentile` or `estimate` where the user has chosen one of them. `method` says how it was found.
        """
        if self.lag is None:
            return None
        if self.lag == 0:
            return 0.0
        estimate = None if self._flow is None else self._flow.estimate(self, now)
        found = self._choose(estimate, self._head_age(now), wanted)
        if found is None:
            return None
        seconds, self._method = found
        return round(max(seconds, 0.0), 3)

    @property
    def method(self) -> Method:
        """How the age was last found."""
        return self._method

    def _choose(
        self, estimate: float | None, head: float | None, wanted: Method | None
    ) -> tuple[float, Method] | None:
        """Choose the way that is nearest to the truth now.

        The record is exact to the moment of a look, but knows only what it has seen come. A head's timestamp is
        as old as the broker's last count, so it serves while the head stands still; where it is far from the record, it
        does not mean the moment of the enqueueing, and the producer knows best. A broker's percentiles are those of the last minutes.
        """
        if wanted == "percentile" and self._wait is not None:
            return self._wait, "percentile"
        if head is not None and (
            estimate is None or not self._is_moving or abs(head - estimate) > APART
        ):
            return head, "head"
        if estimate is not None:
            return estimate, "estimate"
        if wanted is None and self._wait is not None:
            return self._wait, "percentile"
        return None

    @property
    def _is_moving(self) -> bool:
        """Whether messages left between the last two counts."""
        return self._flow is not None and self._flow.is_moving

    def _head_age(self, now: float) -> float | None:
        if self._head is None:
            return None
        at, age = self._head
        return age + now - at
