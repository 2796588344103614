"""The state of one place where messages wait: a queue, or an nsqd's part of a channel."""

from __future__ import annotations

from typing import Final

from exporter.analysis.queues.accounting import Accounting
from exporter.analysis.queues.arrival_curve import Record
from exporter.analysis.queues.arrivals import TICK, Arrivals
from exporter.analysis.queues.outflow import Outflow, Processed
from exporter.model import Counts, Depth, Method

APART = 30.0
"""Seconds by which the head's timestamp and the record may differ before the timestamp is taken to mean something else."""

STALE = 2.5
"""Seconds that RabbitMQ's counts are old when they are read, on average: it takes them every 5 s."""
PACE_SECONDS = 10.0
"""Over which the pace of arrivals is taken."""
FRESH = 4.0
"""Seconds for which what waits is not taken from the counts, as it was read itself."""
SURE = 4.0
"""How many times longer than what it may be off by an age has to be to be shown."""
REACH, TOO_OLD = PACE_SECONDS + STALE, 35.0
"""Seconds for which a pace is believed to go on, and after which counts say nothing of it any more."""


class Moved:
    """What one look saw move."""

    __slots__ = ("consumed", "latency", "left", "produced", "redelivered")

    def __init__(self, produced: int, consumed: int, redelivered: int) -> None:
        self.left = 0
        """Messages that were seen to leave and are not among the consumed."""
        self.produced = produced
        self.consumed = consumed
        self.redelivered = redelivered
        self.latency: float | None = None
        """Seconds from enqueue to consumption of the last message that was consumed, where that is known."""


class QueuePlace:
    """Follows one place from look to look."""

    __slots__ = (
        "_arrivals",
        "_counted_left",
        "_depth_at",
        "_empty_at",
        "_fell",
        "_gap_from",
        "_head",
        "_held",
        "_last",
        "_left",
        "_lost",
        "_method",
        "_moving",
        "_outflow",
        "_processed",
        "_processed_by",
        "_record",
        "_settled_at",
        "_unsure",
        "_unsure_to",
        "_wait",
        "_waited",
        "accounting",
        "committed",
        "consumers",
        "counted_at",
        "deferred",
        "dropped",
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
        """Messages that went without a consumer since the first look, where that can be told."""
        self.accounting: Final = Accounting()
        self._depth_at = now
        """The moment that `lag` is of."""
        self._held = 0
        """How many messages it held when that was last read itself."""
        self._outflow = Outflow()
        self._last: Counts | None = None
        self._processed, self._processed_by = 0, Processed()
        self._arrivals = Arrivals(0)
        self._left = self._counted_left = 0
        """How many have left since the first look, at the least, and the same when the counts were last read."""
        self._record: Record | None = None
        self._empty_at: float | None = None
        """When it was last seen empty."""
        self._settled_at = 0.0
        """When the broker's counts fit together."""
        self._lost = self._fell = False
        """Whether it could not be read at the last look, as its node was gone, and whether its counts began again since."""
        self._gap_from: float | None = None
        """Since when the broker's counts tell nothing, since it lost them; None while they do."""
        self._unsure_to, self._unsure = 0.0, 0.0
        """Up to which message of the record it may be off since the last such gap, and by how many seconds."""
        self._moving = False
        """Whether messages left between the last two counts."""
        self._waited: tuple[float, float] | None = None
        """When a message was last seen to have left and how long it waited, until the counts say that it was consumed."""
        self._head: tuple[float, float] | None = None
        """When the head's timestamp was read, and the age it had then."""
        self._wait: float | None = None
        self._method: Method = "estimate"

    def depth(self, depth: Depth, now: float) -> int:
        """Take what waits now; what could not be read stays as it is. Return how many more must have come than was counted.

        The broker's counts are of some moments ago, and what waits is of now. So what was processed by then and what
        waits now can't be more than what has come in, and what had come in by then less what waits now can't be more than what has left.
        """
        self.missing = 0
        if depth.lag is None:
            self._lost = True
            return 0
        if self._lost or now - self.read_at > TOO_OLD:
            self._lost = False
            self._open_gap()
        # From reading to reading: the broker's counts may be older than the reading before them.
        held_before, self._held = self._held, depth.lag + (depth.deferred or 0)
        self.accounting.fallen += max(held_before - self._held, 0)
        self.accounting.stirred += depth.unacknowledged != self.unacknowledged
        self.lag = depth.lag
        self._depth_at = now - depth.old
        if depth.lag == 0:
            self._empty_at = now
        self.unacknowledged = depth.unacknowledged
        self.deferred = depth.deferred
        self.paused = depth.paused
        self.read_at = now
        if self._record is None or self._last is None or self._gap_from is not None:
            return 0
        if now < self._settled_at:
            return 0
        if self._last.processed is None:
            return 0  # its counts are of one moment
        # A depth that is older than the counts may contain messages that they say were processed.
        known = self._processed_by.by(now - 2 * depth.old) if depth.old else self._processed
        came = self._arrivals.at_least(known + self._held)
        if came:
            self._add_at_pace(self._record, came, now)
        self._left = max(self._left, self._arrivals.value - self._held)
        return came

    @staticmethod
    def _add_at_pace(record: Record, came: int, now: float) -> None:
        """Add to the record what must have come at the least: more may have, so it came by when the pace says.

        By `now` it would mean that no more had come since the last counts.
        """
        pace = record.pace(PACE_SECONDS)
        record.add(min(record.last + came / pace, now) if pace else now, came)

    def count(self, counts: Counts, at: float) -> Moved | None:
        """Take what the broker has counted; return what moved, None where that can't be told.

        The first look, and one at counters that began anew, show no movement.
        """
        before, self._last = self._last, counts
        before_at, self.counted_at = self.counted_at, at
        self.consumers = counts.consumers
        self._wait = counts.wait
        self._head = None if counts.head_age is None else (at, counts.head_age)
        if counts.dropped is not None:
            gone = 0 if before is None else _forward(before.dropped, counts.dropped)
            self.dropped = (self.dropped or 0) + gone
        if counts.enqueued is None:
            self._record = None
            return None
        departed = self.accounting.departed(self._left, at)
        self.accounting.look(before, counts, departed, at)
        if not self.accounting.produced.known:
            return self._count_blindly(before, counts, departed, at)
        moved = self._take(before, counts, at)
        if moved is not None and not self.accounting.consumed.known:
            moved.left = departed
        if counts.processed is not None:
            if before is not None and before_at >= self.read_at:
                self._refresh(before.outstanding, counts.outstanding, at)
            self._outflow.note(at, self._left)
        return moved

    def _refresh(self, before: int, now: int, at: float) -> None:
        """Take what waits from the counts, if it was not read itself lately.

        `before` and `now` are of two counts that were read after the depth. If they differ, the second one was taken
        after the depth too.
        """
        if before == now or self.lag is None or self._lost or at - self._depth_at <= FRESH:
            return
        self.lag, self._depth_at = max(now - (self.deferred or 0), 0), at - STALE

    def _count_blindly(
        self, before: Counts | None, counts: Counts, departed: int, at: float
    ) -> Moved:
        """Take counts that tell neither what comes in nor what goes out: the record ends here."""
        if self._record is None:
            self._begin(counts, at)
        self._fell = True
        self._open_gap()
        moved = Moved(0, 0, 0) if before is None else Moved(*_movement(before, counts))
        moved.left = departed
        return moved

    def _take(self, before: Counts | None, counts: Counts, at: float) -> Moved | None:
        if self._is_settling(before, counts, at):
            return None if self._record is None else Moved(0, 0, 0)
        if not self._fell:
            self._gap_from = None  # it was gone for a moment, and its counts went on
        if before is not None and self._record is not None and self._gap_from is not None:
            self._fell = False
            published, consumed, redelivered = _movement(before, counts)
            grown = self._bridge(self._record, self._gap_from, at)
            return Moved(max(published, grown + consumed), consumed, redelivered)
        if before is None or self._record is None:
            self._begin(counts, at)
            return Moved(0, 0, 0)
        return self._move(self._record, before, counts, at)

    @property
    def activity(self) -> int:
        """A number that changes when messages are seen to leave, or to be handed to consumers."""
        return self.accounting.fallen + self.accounting.stirred + self._left

    def _begin(self, counts: Counts, at: float) -> None:
        """Begin to follow the counters."""
        self._gap_from, self._fell, self._unsure_to = None, False, 0.0
        self._arrivals = Arrivals(counts.outstanding)
        self._processed = self._left = self._counted_left = 0
        self._processed_by.restart()
        self._record = self._new_record(counts.outstanding, at)

    def _new_record(self, outstanding: int, at: float) -> Record:
        """Begin a record: when the place was seen empty, nothing that waits in it now had come."""
        if self._empty_at is None or self._empty_at >= at:
            return Record(at, outstanding)
        record = Record(self._empty_at, 0)
        record.add(at, outstanding)
        return record

    def _is_settling(self, before: Counts | None, counts: Counts, at: float) -> bool:
        """Whether the broker's counts do not fit together yet.

        RabbitMQ takes them each at a moment of its own, so that those of a queue that is new, or whose node was
        restarted, can be some of before and some of now, and some not there at all.
        """
        if counts.processed is None:
            return False
        if before is None:
            self._settled_at = at + 2 * TICK
        elif before.epoch == counts.epoch and (
            (before.enqueued or 0) > (counts.enqueued or 0)
            or (before.processed or 0) > counts.processed
        ):
            self._settled_at = at + 2 * TICK
            self._fell = True
            self._open_gap()
            return True
        if self._record is None and counts.outstanding == self.lag:
            self._settled_at = at
        return at < self._settled_at

    def _open_gap(self) -> None:
        """From the last counts on, what came and what left is not known, as its node was gone and they began anew.

        (Counts of one moment, as nsqd's, tell their epoch and need none of this.)
        """
        record, last = self._record, self._last
        if self._gap_from is not None or record is None or last is None:
            return
        if last.processed is not None:
            self._gap_from = record.last

    def _bridge(self, record: Record, since: float, at: float) -> int:
        """Go on with the record behind a gap. Return by how many more wait than before it.

        The oldest of those that wait is so many from the record's end as there are. That is right for what comes from now on; what was
        there before may be off by as long as the gap was.
        """
        waiting = (self.lag or 0) + (self.deferred or 0)
        grown = waiting - int(record.total - self._left)
        record.add(at, max(grown, 0))
        self._arrivals = Arrivals(int(record.total))
        self._left = self._processed = self._counted_left = max(self._arrivals.value - waiting, 0)
        self._processed_by.restart()
        self._processed_by.note(at, self._processed)
        self._unsure_to, self._unsure = record.total, at - since
        self._gap_from = None
        self._moving = False
        return grown

    def _move(self, record: Record, before: Counts, counts: Counts, at: float) -> Moved:
        published, consumed, redelivered = _movement(before, counts)
        self._processed += consumed
        self._processed_by.note(at, self._processed)
        came = self._arrivals.published(published, consumed, at)
        if counts.replay is not None:
            # Consumers that stopped go on where they were before, so what has left can become less.
            self._left = max(self._arrivals.value - counts.outstanding, 0)
        elif counts.processed is None:
            # Counted in one moment, so it can't be off; what was lost with a node that died has left, too.
            came += self._arrivals.at_least(self._left + counts.outstanding)
            self._left = max(self._arrivals.value - counts.outstanding, self._left)
        else:
            self._left = max(self._left, min(self._processed, self._arrivals.value))
        record.add(at if counts.processed is None else max(at - STALE, record.first), came)
        self._moving = self._left > self._counted_left
        self._counted_left = self._left
        moved = Moved(came, consumed, redelivered)
        if self._moving:
            enqueued_at = record.time_of(self._left + (self.deferred or 0))
            waited = None if enqueued_at is None else max(at - enqueued_at, 0.0)
            self._waited = None if waited is None else (at, waited)
        if consumed > 0 and self._waited is not None:
            # What waits is read more often than the counts are taken, so a message may have left before it was counted.
            left_at, waited = self._waited
            if at - left_at < TOO_OLD:
                moved.latency = waited
            self._waited = None
        record.forget(self._left - (counts.replay or 0))
        return moved

    def age(self, now: float, wanted: Method | None) -> float | None:
        """Return the age of the oldest message not yet processed; None where it is not known.

        `wanted` is `percentile` or `estimate` where the user has chosen one of them. `method` says how it was found.
        """
        if self.lag is None:
            return None
        if self.lag == 0:
            return 0.0
        found = self._choose(self._estimate(now), self._head_age(now), wanted)
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
            estimate is None or not self._moving or abs(head - estimate) > APART
        ):
            return head, "head"
        if estimate is not None:
            return estimate, "estimate"
        if wanted is None and self._wait is not None:
            return self._wait, "percentile"
        return None

    def _head_age(self, now: float) -> float | None:
        if self._head is None:
            return None
        at, age = self._head
        return age + now - at

    def _estimate(self, now: float) -> float | None:
        """Return the age by the record. Deferred messages are no lag: others overtake them, so they are passed over."""
        record, last = self._record, self._last
        if record is None or last is None or self._gap_from is not None:
            return None
        if last.processed is None:
            return self._estimate_of_one_moment(record, now)
        # What was counted is some seconds old, and so is what waits, if less. So what came since the counts is reckoned with
        # the pace at which messages came before, and what left since then with the pace at which they left.
        pace = record.pace(PACE_SECONDS)
        passed = self._depth_at - record.last
        came = record.total + (pace * min(max(passed, 0.0), REACH) if passed <= TOO_OLD else 0.0)
        left = came - (self.lag or 0)
        if self.consumers != 0 and not self._lost:
            left += self._outflow.within(now - self._depth_at)
        # Something waits, so not all that had come has left.
        number = max(min(left, came - 1), self._left + (self.deferred or 0)) + 1
        if number > record.total:
            ahead = (number - record.total) / pace if pace else 0.0
            return now - min(record.last + ahead, self._depth_at)
        enqueued_at = record.time_of(number)
        if enqueued_at is None or (
            number <= self._unsure_to and now - enqueued_at < SURE * self._unsure
        ):
            return None
        return now - enqueued_at

    def _estimate_of_one_moment(self, record: Record, now: float) -> float | None:
        number = self._left + (self.deferred or 0) + 1
        if number > record.total:
            # It came after the counts were taken, at any moment since.
            return (now - record.last) / 2
        enqueued_at = record.time_of(number)
        return None if enqueued_at is None else now - enqueued_at


def _movement(before: Counts, now: Counts) -> tuple[int, int, int]:
    """Return how many were published, consumed and delivered again between two looks."""
    if now.epoch != before.epoch:
        return 0, 0, 0
    published = _forward(before.enqueued, now.enqueued)
    if now.processed is not None:
        consumed = _forward(before.processed, now.processed)
    else:
        left = [(counts.enqueued or 0) - counts.outstanding for counts in (before, now)]
        consumed = _forward(*left)
    return published, consumed, _forward(before.redelivered, now.redelivered)


def _forward(before: int | None, now: int | None) -> int:
    """Return how far a counter moved; one that fell began anew or lost a part, and shows nothing."""
    return 0 if before is None or now is None else max(now - before, 0)
