"""The state of one place where messages wait: a queue, or a channel on one nsqd."""

from __future__ import annotations

from typing import Final

from exporter.analysis.queues.accounting import Accounting
from exporter.analysis.queues.exact_flow import ExactFlow
from exporter.analysis.queues.flow import TOO_OLD, Flow, Moved, forward
from exporter.analysis.queues.loose_flow import STALE, LooseFlow
from exporter.model import Counts, Depth, Method

APART = 30.0
"""If the timestamp of the oldest message and the estimate differ by more seconds, the timestamp has
another meaning than the enqueue time."""
FRESH = 4.0
"""A depth that was read directly is used for so many seconds before one from the counts."""


class QueuePlace:
    """Follows one place from poll to poll: how many messages wait, and how old the oldest is."""

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
        "shared_consumers",
        "single_consumer",
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
        self.single_consumer = False
        """Whether only one of its consumers gets messages."""
        self.shared_consumers = False
        """Whether its consumers read the subscription's other places, too."""
        self.committed: int | None = None
        """Offset of the next message, if the place is a log."""
        self.is_upper_bound = False
        """Whether the lag includes offsets that may have no message."""
        self.read_at = now
        """When it was last readable."""
        self.missing = 0
        """Number of consecutive complete polls without it."""
        self.counted_at = now
        """When its counts were last read."""
        self.dropped: int | None = None
        """Messages that left unconsumed since the first poll; None if unknown."""
        self.accounting: Final = Accounting()
        self.depth_at = now
        """The time for which `lag` is valid."""
        self.empty_at: float | None = None
        """When it was last empty."""
        self.is_lost = False
        """Whether it could not be read at the last poll because its node was gone."""
        self._held = 0
        """Messages in it at the last direct reading."""
        self._last: Counts | None = None
        self._flow: Flow | None = None
        """None until its broker's counts include what enters."""
        self._head: tuple[float, float] | None = None
        """When the age of the oldest message by its timestamp was read, and that age."""
        self._wait: float | None = None
        self._method: Method = "estimate"

    def observe_depth(self, depth: Depth, now: float) -> int:
        """Set the messages that wait. Unreadable numbers keep their values.

        Returns how many messages must have entered that were not counted.
        """
        self.missing = 0
        if depth.lag is None:
            self.is_lost = True
            return 0
        is_back = self.is_lost or now - self.read_at > TOO_OLD
        self.is_lost = False
        # Compared with the last reading, because counts may be older than that reading.
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
        return self._flow.observe_depth(self._held, now, old=depth.old, is_back=is_back)

    def observe_counts(self, counts: Counts, at: float) -> Moved | None:
        """Add the broker's counts; return what moved, None if unknown.

        The first poll shows no movement, nor does one after a reset of the counters.
        """
        flow = self._flow_of(counts)
        before, before_at = self._last, self.counted_at
        if flow is not None:
            counts = flow.in_order(before, counts, at)
        self._last, self.counted_at = counts, at
        self.consumers = counts.consumers
        self.single_consumer = counts.single_consumer
        self.shared_consumers = counts.shared_consumers
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
        """Return the flow for these counts; None if they do not include what enters.

        It is a new one if the broker counts in another way than before.
        """
        flow = self._flow
        if counts.enqueued is None:
            if flow is not None:
                flow.end_curve()
            return None
        kind = ExactFlow if counts.processed is None else LooseFlow
        if type(flow) is kind:
            return flow
        if flow is not None:
            self._last = None
        self._flow = kind()
        return self._flow

    def _refresh(self, before: Counts | None, before_at: float, counts: Counts, at: float) -> None:
        """Set the messages that wait from the counts, unless they were read directly just before.

        If two counts read after the depth differ, the second one is newer than the depth.
        """
        if before is None or before_at < self.read_at or before.outstanding == counts.outstanding:
            return
        if self.lag is None or self.is_lost or at - self.depth_at <= FRESH:
            return
        self.lag = max(counts.outstanding - (self.deferred or 0), 0)
        self.depth_at = at - STALE

    @property
    def left(self) -> int:
        """Lower bound on the number of messages that left since the first counts."""
        return 0 if self._flow is None else self._flow.left

    @property
    def activity(self) -> int:
        """A number that changes when messages leave or are delivered to consumers."""
        return self.accounting.fallen + self.accounting.stirred + self.left

    def age(self, now: float, wanted: Method | None) -> float | None:
        """Return the age of the oldest message not yet processed; None if unknown.

        `wanted` is `percentile` or `estimate` if the config selects one. Sets `method`.
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
        """How the last age was determined."""
        return self._method

    def _choose(
        self, estimate: float | None, head: float | None, wanted: Method | None
    ) -> tuple[float, Method] | None:
        """Choose the most accurate age.

        The estimate is exact at the time of a poll, but knows only messages seen to enter. The
        timestamp of the oldest message is as old as the broker's last update, so it is used while
        no message leaves. If both are far apart, the timestamp does not mean the enqueue time: the
        producer knows best. A broker's percentiles cover the last minutes.
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
