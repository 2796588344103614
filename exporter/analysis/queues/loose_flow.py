"""The flow through a place whose broker takes each count at a moment of its own: a queue of RabbitMQ.

Such counts fit together only after a while, may be older than the ones before, and begin again without a sign when
the queue's node restarts.
"""

from __future__ import annotations

from exporter.analysis.queues.arrival_curve import Record
from exporter.analysis.queues.arrivals import TICK, Arrivals
from exporter.analysis.queues.counts_order import CountsOrder
from exporter.analysis.queues.flow import TOO_OLD, Flow, Moved, PlaceBacklog, movement
from exporter.analysis.queues.outflow import Outflow, Processed
from exporter.model import Counts

STALE = 2.5
"""Seconds that RabbitMQ's counts are old when they are read, on average: it takes them every 5 s."""
PACE_SECONDS = 10.0
"""Over which the pace of arrivals is taken."""
REACH = PACE_SECONDS + STALE
"""Seconds for which a pace is believed to go on. After `TOO_OLD` the counts say nothing of it any more."""
SURE = 4.0
"""How many times longer than what it may be off by an age has to be to be shown."""


class LooseFlow(Flow):
    """Follows counts that are not of one moment, and compares them with what waits.

    What was processed by the moment of the counts and what waits now can't be more than what has come in. What had come
    in by then less what waits now can't be more than what has left.
    """

    __slots__ = (
        "_fell",
        "_gap_from",
        "_order",
        "_outflow",
        "_processed",
        "_processed_by",
        "_settled_at",
        "_unsure",
        "_unsure_to",
    )

    def __init__(self) -> None:
        super().__init__()
        self._order, self._outflow = CountsOrder(), Outflow()
        self._processed, self._processed_by = 0, Processed()
        self._settled_at = 0.0
        """When the broker's counts fit together."""
        self._fell = False
        """Whether the counts began again in the gap."""
        self._gap_from: float | None = None
        """Since when the broker's counts tell nothing, since it lost them; None while they do."""
        self._unsure_to, self._unsure = 0.0, 0.0
        """Up to which message of the record it may be off since the last such gap, and by how many seconds."""

    # Counts

    def in_order(self, before: Counts | None, counts: Counts, at: float) -> Counts:
        """Return the counts, or what they were before where these are older."""
        return self._order.held(before, counts, at)

    def count(
        self,
        before: Counts | None,
        counts: Counts,
        waiting: PlaceBacklog,
        at: float,
        *,
        every_message: bool,
    ) -> Moved | None:
        """Process counts that `in_order` returned; return what moved, None if it is not known."""
        if not every_message:
            return self._count_blindly(before, counts, waiting, at)
        moved = self._count_exactly(before, counts, waiting, at)
        self._outflow.note(at, self.left)
        return moved

    def _count_blindly(
        self, before: Counts | None, counts: Counts, waiting: PlaceBacklog, at: float
    ) -> Moved:
        """Take counts that tell neither what comes in nor what goes out: the record ends here."""
        if self._record is None:
            self._begin(counts, waiting, at)
        self._fell = True
        self._open_gap()
        return Moved(0, 0, 0) if before is None else _movement(before, counts)

    def _count_exactly(
        self, before: Counts | None, counts: Counts, waiting: PlaceBacklog, at: float
    ) -> Moved | None:
        if self._is_settling(before, counts, waiting.lag, at):
            return None if self._record is None else Moved(0, 0, 0)
        if not self._fell:
            self._gap_from = None  # it was gone for a moment, and its counts went on
        if before is None or self._record is None:
            self._begin(counts, waiting, at)
            return Moved(0, 0, 0)
        moved = _movement(before, counts)
        if self._gap_from is not None:
            self._fell = False
            grown = self._bridge(self._record, self._gap_from, waiting, at)
            moved.produced = max(moved.produced, grown + moved.consumed)
        else:
            self._move(self._record, moved, waiting, at)
        return moved

    def _begin(self, counts: Counts, waiting: PlaceBacklog, at: float) -> None:
        """Begin to follow the counts."""
        super()._begin(counts, waiting, at)
        self._gap_from, self._fell, self._unsure_to = None, False, 0.0
        self._processed = 0
        self._processed_by.restart()

    def _is_settling(
        self, before: Counts | None, counts: Counts, lag: int | None, at: float
    ) -> bool:
        """Whether the broker's counts do not fit together yet.

        RabbitMQ takes them each at a moment of its own, so that those of a queue that is new, or whose node was
        restarted, can be some of before and some of now, and some not there at all.
        """
        if before is None:
            self._settled_at = at + 2 * TICK
        elif before.epoch == counts.epoch and (
            (before.enqueued or 0) > (counts.enqueued or 0)
            or (before.processed or 0) > (counts.processed or 0)
        ):
            self._settled_at = at + 2 * TICK
            self._fell = True
            self._open_gap()
            return True
        if self._record is None and counts.outstanding == lag:
            self._settled_at = at
        return at < self._settled_at

    def _move(self, record: Record, moved: Moved, waiting: PlaceBacklog, at: float) -> None:
        """Add to the record what was published, or must have come in another way."""
        self._processed += moved.consumed
        self._processed_by.note(at, self._processed)
        moved.produced = self._arrivals.published(moved.produced, moved.consumed, at)
        self.left = max(self.left, min(self._processed, self._arrivals.value))
        record.add(max(at - STALE, record.first), moved.produced)
        self._depart(record, moved, waiting.deferred or 0, at)
        record.forget(self.left)

    # Gaps

    def _open_gap(self) -> None:
        """From the last counts on, what came and what left is not known, as the queue's node was gone and they began again."""
        if self._gap_from is None and self._record is not None:
            self._gap_from = self._record.last

    def _bridge(self, record: Record, since: float, waiting: PlaceBacklog, at: float) -> int:
        """Go on with the record behind a gap. Return by how many more wait than before it.

        The oldest of those that wait is so many from the record's end as there are. That is right for what comes from now on; what was
        there before may be off by as long as the gap was.
        """
        held = (waiting.lag or 0) + (waiting.deferred or 0)
        grown = held - int(record.total - self.left)
        record.add(at, max(grown, 0))
        self._arrivals = Arrivals(int(record.total))
        self.left = self._processed = self._counted_left = max(self._arrivals.value - held, 0)
        self._processed_by.restart()
        self._processed_by.note(at, self._processed)
        self._unsure_to, self._unsure = record.total, at - since
        self._gap_from = None
        self.is_moving = False
        return grown

    # What waits

    def read(self, held: int, now: float, *, old: float, is_back: bool) -> int:
        """Take how many messages the place held `old` seconds ago; return how many more must have come than was counted."""
        if is_back:
            self._open_gap()
        record = self._record
        if record is None or self._gap_from is not None or now < self._settled_at:
            return 0
        # A depth that is older than the counts may contain messages that they say were processed.
        known = self._processed_by.by(now - 2 * old) if old else self._processed
        came = self._arrivals.at_least(known + held)
        if came:
            _add_at_pace(record, came, now)
        self.left = max(self.left, self._arrivals.value - held)
        return came

    def estimate(self, waiting: PlaceBacklog, now: float) -> float | None:
        """Return the age of the oldest message that waits, by the record; None where that is not known.

        What was counted is some seconds old, and so is what waits, if less. So what came since the counts is reckoned with
        the pace at which messages came before, and what left since then with the pace at which they left.
        """
        record = self._record
        if record is None or self._gap_from is not None:
            return None
        depth_at = waiting.depth_at
        pace = record.pace(PACE_SECONDS)
        passed = depth_at - record.last
        came = record.total + (pace * min(max(passed, 0.0), REACH) if passed <= TOO_OLD else 0.0)
        left = came - (waiting.lag or 0)
        if waiting.consumers != 0 and not waiting.is_lost:
            left += self._outflow.within(now - depth_at)
        # Something waits, so not all that had come has left.
        number = max(min(left, came - 1), self.left + (waiting.deferred or 0)) + 1
        if number > record.total:
            ahead = (number - record.total) / pace if pace else 0.0
            return now - min(record.last + ahead, depth_at)
        enqueued_at = record.time_of(number)
        if enqueued_at is None or (
            number <= self._unsure_to and now - enqueued_at < SURE * self._unsure
        ):
            return None
        return now - enqueued_at


def _movement(before: Counts, now: Counts) -> Moved:
    return movement(before, now, (before.processed, now.processed))


def _add_at_pace(record: Record, came: int, now: float) -> None:
    """Add to the record what must have come at the least: more may have, so it came by when the pace says.

    By `now` it would mean that no more had come since the last counts.
    """
    pace = record.pace(PACE_SECONDS)
    record.add(min(record.last + came / pace, now) if pace else now, came)
