"""The flow through a place whose broker reads its counters at different times: a RabbitMQ queue.

These counters are consistent only after a while. They may be older than the ones before, and they
are reset without notice if the queue's node restarts.
"""

from __future__ import annotations

from collections import deque

from exporter.analysis.queues.arrival_curve import ArrivalCurve
from exporter.analysis.queues.arrivals import TICK, WINDOW, Arrivals
from exporter.analysis.queues.counts_order import CountsOrder
from exporter.analysis.queues.flow import TOO_OLD, Flow, Moved, PlaceBacklog, movement
from exporter.analysis.queues.outflow import Outflow, Processed
from exporter.model import Counts

STALE = 2.5
"""Mean age in seconds of RabbitMQ's counters when they are read: it updates them every 5 s."""
PACE_SECONDS = 10.0
"""Time over which the arrival rate is measured."""
REACH = PACE_SECONDS + STALE
"""Seconds for which the arrival rate is extrapolated. After `TOO_OLD` it is not used at all."""
SURE = 4.0
"""An age is shown if it is at least this multiple of its possible error."""


class LooseFlow(Flow):
    """Follows counters of different times and compares them with the depth.

    Messages processed by the time of the counters plus messages waiting now are a lower bound on
    the messages that entered. Messages entered by then less messages waiting now are a lower bound
    on the messages that left.
    """

    __slots__ = (
        "_ahead",
        "_ahead_at",
        "_depths",
        "_fell",
        "_gap_from",
        "_order",
        "_outflow",
        "_processed",
        "_processed_by",
        "_raised",
        "_settled_at",
        "_unsure",
        "_unsure_to",
    )

    def __init__(self) -> None:
        super().__init__()
        self._order, self._outflow = CountsOrder(), Outflow()
        self._depths: deque[tuple[float, int]] = deque()
        """Recent depths: the last one that is older than a tick, and all later ones."""
        self._raised: deque[tuple[float, int]] = deque()
        """Messages that were first seen in the depth, in the last tick."""
        self._processed, self._processed_by = 0, Processed()
        self._settled_at = 0.0
        """When the broker's counters are consistent."""
        self._fell = False
        """Whether the counters were reset during the gap."""
        self._gap_from: float | None = None
        """Since when the broker's counters are unusable because it lost them; None if usable."""
        self._ahead, self._ahead_at = 0, 0.0
        """Messages known when the gap began, whose publishes the counters will probably include
        later; and when it began."""
        self._unsure_to, self._unsure = 0.0, 0.0
        """Last message of the curve whose time is uncertain due to a gap, and its error in s."""

    # Counts

    def in_order(self, before: Counts | None, counts: Counts, at: float) -> Counts:
        """Return the counts; if they are older than `before`, the larger values of both."""
        return self._order.in_order(before, counts, at)

    def count(
        self,
        before: Counts | None,
        counts: Counts,
        waiting: PlaceBacklog,
        at: float,
        *,
        every_message: bool,
    ) -> Moved | None:
        """Process counts that `in_order` returned; return what moved, None if unknown."""
        if not every_message:
            return self._count_blindly(before, counts, waiting, at)
        moved = self._count_exactly(before, counts, waiting, at)
        self._outflow.note(at, self.left)
        return moved

    def _count_blindly(
        self, before: Counts | None, counts: Counts, waiting: PlaceBacklog, at: float
    ) -> Moved:
        """Process counts that include neither what enters nor what leaves: a gap begins."""
        if self._curve is None:
            self._begin(counts, waiting, at)
        self._fell = True
        self._open_gap(at)
        return Moved(0, 0, 0) if before is None else _movement(before, counts)

    def _count_exactly(
        self, before: Counts | None, counts: Counts, waiting: PlaceBacklog, at: float
    ) -> Moved | None:
        if self._is_settling(before, counts, waiting.lag, at):
            return None if self._curve is None else Moved(0, 0, 0)
        if not self._fell:
            self._gap_from = None  # the queue was gone for a moment, and its counters went on
        if before is None or self._curve is None:
            self._begin(counts, waiting, at)
            return Moved(0, 0, 0)
        moved = _movement(before, counts)
        if self._gap_from is not None:
            self._fell = False
            self._bridge(self._curve, moved, self._gap_from, waiting, at)
        else:
            self._move(self._curve, moved, waiting, at)
        return moved

    def _begin(self, counts: Counts, waiting: PlaceBacklog, at: float) -> None:
        """Start to follow the counts."""
        super()._begin(counts, waiting, at)
        self._gap_from, self._fell, self._unsure_to = None, False, 0.0
        self._processed = 0
        self._processed_by.restart()

    def _is_settling(
        self, before: Counts | None, counts: Counts, lag: int | None, at: float
    ) -> bool:
        """Return whether the broker's counters are still inconsistent.

        RabbitMQ reads each one at a different time. For a queue that is new or whose node
        restarted, some may be old, some new, and some missing.
        """
        if before is None:
            self._settled_at = at + 2 * TICK
        elif before.epoch == counts.epoch and (
            (before.enqueued or 0) > (counts.enqueued or 0)
            or (before.processed or 0) > (counts.processed or 0)
        ):
            self._settled_at = at + 2 * TICK
            self._fell = True
            self._open_gap(at)
            self._ahead = 0  # the counts of these messages are lost
            return True
        if self._curve is None and counts.outstanding == lag:
            self._settled_at = at
        return at < self._settled_at

    def _move(self, curve: ArrivalCurve, moved: Moved, waiting: PlaceBacklog, at: float) -> None:
        """Add to the curve what was published or must have entered in another way."""
        self._processed += moved.consumed
        self._processed_by.note(at, self._processed)
        moved.produced = self._arrivals.add_published(moved.produced, moved.consumed, at)
        self.left = max(self.left, min(self._processed, self._arrivals.value))
        curve.add(max(at - STALE, curve.first), moved.produced)
        self._depart(curve, moved, waiting.deferred or 0, at)
        curve.forget(self.left)

    # Gaps

    def _open_gap(self, at: float) -> None:
        """Begin a gap at the last counts: the queue's node was gone and its counters were reset.

        What entered and left in a gap is unknown.
        """
        if self._gap_from is None and self._curve is not None:
            self._gap_from = self._curve.last
            recent = sum(count for seen_at, count in self._raised if at - seen_at <= TICK)
            self._ahead, self._ahead_at = min(self._arrivals.unpublished, recent), at

    def _bridge(
        self, curve: ArrivalCurve, moved: Moved, since: float, waiting: PlaceBacklog, at: float
    ) -> None:
        """Continue the curve after a gap. What the backlog grew by must have entered.

        The position of the oldest waiting message is counted back from the end of the curve. That
        is exact for messages that enter from now on. For older ones the error is at most the
        duration of the gap.
        """
        held = (waiting.lag or 0) + (waiting.deferred or 0)
        grown = held - int(curve.total - self.left)
        curve.add(at, max(grown, 0))
        # Messages seen in the depth before the gap are counted as produced already.
        ahead = self._ahead if at - self._ahead_at <= WINDOW else 0
        late = max(ahead - moved.produced, 0)
        moved.produced = max(moved.produced - ahead, 0)
        # The depth is newer than the counters, which will soon include what it shows already.
        surplus = max(grown + moved.consumed - moved.produced, 0)
        recent = max(moved.produced, moved.consumed, held - self._held_a_tick_ago(held))
        self._arrivals = Arrivals(int(curve.total), ahead=late + min(surplus, recent))
        moved.produced += surplus
        self.left = self._processed = self._counted_left = max(self._arrivals.value - held, 0)
        self._processed_by.restart()
        self._processed_by.note(at, self._processed)
        self._unsure_to, self._unsure = curve.total, at - since
        self._gap_from = None
        self.is_moving = False

    # What waits

    def _held_a_tick_ago(self, held: int) -> int:
        """Return the depth when the present counters were updated, or before it."""
        return self._depths[0][1] if self._depths else held

    def observe_depth(self, held: int, now: float, *, old: float, is_back: bool) -> int:
        """Set the number of messages in the place `old` seconds ago.

        Returns how many messages must have entered that were not counted.
        """
        self._depths.append((now, held))
        while len(self._depths) > 1 and now - self._depths[1][0] >= TICK:
            self._depths.popleft()
        if is_back:
            self._open_gap(now)
        curve = self._curve
        if curve is None or self._gap_from is not None or now < self._settled_at:
            return 0
        # A depth that is older than the counts may include messages that they count as processed.
        known = self._processed_by.by(now - 2 * old) if old else self._processed
        came = self._arrivals.raise_to(known + held)
        if came:
            self._raised.append((now, came))
            while now - self._raised[0][0] > TICK:
                self._raised.popleft()
            _add_at_pace(curve, came, now)
        self.left = max(self.left, self._arrivals.value - held)
        return came

    def estimate(self, waiting: PlaceBacklog, now: float) -> float | None:
        """Return the age of the oldest waiting message by the arrival curve; None if unknown.

        The counters are some seconds old, and the depth is, too, but less. So messages that entered
        since the counters are estimated by the recent arrival rate, and those that left since the
        depth by the recent departure rate.
        """
        curve = self._curve
        if curve is None or self._gap_from is not None:
            return None
        depth_at = waiting.depth_at
        pace = curve.pace(PACE_SECONDS)
        passed = depth_at - curve.last
        came = curve.total + (pace * min(max(passed, 0.0), REACH) if passed <= TOO_OLD else 0.0)
        left = came - (waiting.lag or 0)
        if waiting.consumers != 0 and not waiting.is_lost:
            left += self._outflow.within(now - depth_at)
        # Messages wait, so not all that entered have left.
        number = max(min(left, came - 1), self.left + (waiting.deferred or 0)) + 1
        if number > curve.total:
            ahead = (number - curve.total) / pace if pace else 0.0
            return now - min(curve.last + ahead, depth_at)
        enqueued_at = curve.time_of(number)
        if enqueued_at is None or (
            number <= self._unsure_to and now - enqueued_at < SURE * self._unsure
        ):
            return None
        return now - enqueued_at


def _movement(before: Counts, now: Counts) -> Moved:
    return movement(before, now, (before.processed, now.processed))


def _add_at_pace(curve: ArrivalCurve, came: int, now: float) -> None:
    """Add a lower bound of messages at the time at which the arrival rate reaches it.

    More may have entered. Added at `now`, it would mean that no more entered since the last counts.
    """
    pace = curve.pace(PACE_SECONDS)
    curve.add(min(curve.last + came / pace, now) if pace else now, came)
