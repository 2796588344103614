"""The state of one subscription of a log: where the group stands in it, and what happened to its position."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from exporter.analysis.histogram import Histogram
from exporter.analysis.history import History
from exporter.analysis.logs.ages import Ages
from exporter.analysis.logs.coverage import Coverage, Uncommitted
from exporter.analysis.logs.past_end import PastEnd
from exporter.analysis.logs.topic import LogTopic
from exporter.analysis.rates import CounterTable
from exporter.judgement.cadence import CommitGaps
from exporter.judgement.judge import Judge

Drained = Mapping[tuple[str, int, bool], tuple[int, int]]
NO_HOLE = (0, -1)


class LogSubscription:
    """Follows one group in one destination from look to look."""

    __slots__ = (
        "_below",
        "_label",
        "_regain",
        "_seen",
        "_shrunk",
        "_starts",
        "ages",
        "anomaly_labels",
        "committed",
        "consumed",
        "consumed_slot",
        "consumers",
        "coverage",
        "deleted_topic",
        "gaps",
        "group",
        "history",
        "judge",
        "label",
        "labels",
        "lag",
        "latency",
        "lost",
        "margin",
        "missing",
        "moved_at",
        "orphaned",
        "partitions",
        "past_end",
        "produced",
        "produced_slot",
        "read_at",
        "rewinds",
        "shown",
        "stale",
        "time_to_loss",
        "topic",
        "upper_bound",
    )

    def __init__(
        self,
        group: str,
        topic: LogTopic,
        *,
        consumed: CounterTable,
        produced: CounterTable,
        label: str,
        anomaly_labels: tuple[str, ...],
        partition_label: Callable[[int], str],
        now: float,
    ) -> None:
        self.group: Final = group
        self.topic: Final = topic
        self.label: Final = label
        """Text of the subscription's labels."""
        self.anomaly_labels: Final = anomaly_labels
        """Texts with the label `kind`, in the order of `catalogue.ANOMALIES`."""
        self._label: Final = partition_label
        self.consumed: Final = consumed
        self.produced: Final = produced
        self.consumed_slot: Final = consumed.allocate(now)
        self.produced_slot: Final = produced.allocate(now)

        self.partitions: list[int] = []
        self.labels: list[str] = []
        self.committed: list[int | None] = []
        self.lag: list[int | None] = []
        """Partitions with a committed offset, in ascending order, and what is known of each."""
        self.moved_at: array[float] = array("d")
        """By partition: when its position last moved, or nothing waited there."""
        self.stale: dict[int, float] = {}
        """Partitions that can't be read now, to when they last could be."""
        self.read_at = now
        self.missing = 0
        """Complete looks in a row at the group in which it had no position here."""
        self.shown = False
        self.margin: int | None = None
        self.upper_bound = False

        self.ages: Final = Ages()
        self.gaps: Final = CommitGaps()
        self.judge: Final = Judge()
        self.history: Final = History()
        self.latency: Histogram | None = None
        """Of what was consumed, where that is followed."""
        self.time_to_loss: float | None = None
        """Seconds; None where it is not known."""

        self.lost = 0
        self.rewinds = 0
        self.deleted_topic = 0
        self.orphaned = False
        """Whether there is a position on a destination that does not exist."""
        self.past_end: Final = PastEnd()
        self._below: dict[int, int] = {}
        self._regain: dict[int, int] = {}
        self._starts: Sequence[int | None] = ()
        self._shrunk = False
        self._seen = False

        self.consumers: int | None = None
        self.coverage: Final = Coverage()

    @property
    def vhost(self) -> None:
        """None: topics have no virtual host."""

    @property
    def destination(self) -> str:
        """The topic's name."""
        return self.topic.name

    def total_lag(self) -> int:
        """Sum over the partitions whose lag was ever known, to rank by: it may be too small, or outdated."""
        return sum(lag for lag in self.lag if lag)

    def advance(
        self,
        offsets: Mapping[int, int | None],
        *,
        read_committed: bool,
        drained: Drained,
        now: float,
    ) -> None:
        """Take one look at the group's offsets here (partition to offset, None where unreadable)."""
        self._match(offsets, now)
        topic = self.topic
        log = topic.fresh
        if log is None:
            self._hold_all()
            return
        starts = log.start
        ends = log.stable if read_committed else log.end
        self.past_end.look(is_first=not self._seen)
        highs = log.end
        known = len(ends)
        margins: list[int] = []
        moved = 0
        for index, partition in enumerate(self.partitions):
            position = offsets.get(partition)
            start = starts[partition] if partition < known else None
            end = ends[partition] if partition < known else None
            high = highs[partition] if partition < known else None
            if position is None or start is None or end is None or high is None:
                self.stale.setdefault(partition, self.read_at)
                continue
            before = self.committed[index]
            moved += self._advance_partition(index, partition, position, start, end, high)
            if drained and self.lag[index]:
                hole = drained.get((topic.name, partition, read_committed), NO_HOLE)
                self._drain(index, max(position, start), end, hole)
            if position != before or not self.lag[index]:
                self.moved_at[index] = now
            margins.append(position - start)
            if self.stale:
                self.stale.pop(partition, None)
        if len(margins) == len(self.partitions) and margins:
            self.margin = max(min(margins), 0)
        self.consumed.values[self.consumed_slot] += moved
        self.upper_bound = topic.gaps and any(self.lag)
        self.gaps.look(now, moved=moved > 0, waiting=any(self.lag))
        self.read_at = now
        self._starts = starts
        self._seen = True

    def _advance_partition(
        self, index: int, partition: int, position: int, start: int, end: int, high: int
    ) -> int:
        """Take one position; returns how many messages were processed since the last one.

        `end` is the offset up to which the group can read, `high` the log end.
        """
        before = self.committed[index]
        self.committed[index] = position
        self.lag[index] = max(end - max(position, start), 0)
        # Deleted unread at the look before: what moves past these was not processed.
        lost_up_to = self._below.get(partition, 0) if self._below else 0
        if position < start:
            self._below_start(partition, position, start)
        elif self._below:
            self._below.pop(partition, None)
        if position > high:
            self.past_end.see(partition, position - high, is_first=not self._seen)
        else:
            self.past_end.forget(partition)
        if before is None or position == before or position > high:
            return 0
        if position < before:
            self.rewinds += 1
            self._regain.setdefault(partition, before)
            return 0
        if self._regain and (position >= self._regain.get(partition, position) or position == end):
            self._regain.pop(partition, None)
        return max(position - max(before, lost_up_to), 0)

    def _drain(self, index: int, position: int, end: int, hole: tuple[int, int]) -> None:
        """Take away a lag over offsets between which no record can be read."""
        if hole[0] <= position and end <= hole[1]:
            self.lag[index] = 0

    def hold(self) -> None:
        """The group could not be read this time: everything stays as it is."""
        self._hold_all()

    def add_produced(self) -> None:
        """Count what this look saw produced on the partitions that the group reads."""
        topic = self.topic
        if not topic.delta_sum:
            return
        delta = topic.delta
        if len(self.partitions) == len(delta):
            added = topic.delta_sum
        else:
            known = len(delta)
            assigned = self.coverage.assigned
            reads = assigned.union(self.partitions) if assigned else self.partitions
            added = sum(delta[partition] for partition in reads if partition < known)
        self.produced.values[self.produced_slot] += added

    def assign(
        self, readers: int | None, assigned: frozenset[int] | None, *, subscribes: bool = False
    ) -> None:
        """Take what the group's description says: members that read here, and the partitions they have.

        None is unknown. `subscribes` is for a group without members whose last members subscribed to topics.
        """
        self.consumers = readers
        self.coverage.assign(assigned, self.topic, has_members=bool(readers), subscribes=subscribes)

    def uncommitted(self, hold: float, now: float) -> Uncommitted | None:
        """Count what waits on partitions that the group should read and has no position on; None if not known."""
        known = self.consumers is not None
        return self.coverage.uncommitted(self.topic, hold, now, members_known=known)

    def unreadable(self, hold: float, now: float) -> int:
        """Count the partitions that the group reads and that could not be read for longer than `hold`."""
        found = self.coverage.unreadable(self.topic, hold, now)
        if self.stale:
            found += sum(lag is None for lag in visible(self, self.lag, hold, now))
        return found

    @property
    def has_position(self) -> bool:
        """Whether the group has a committed offset here, read or not."""
        return bool(self.partitions)

    @property
    def had_position(self) -> bool:
        """Whether one was ever seen."""
        return self._seen or bool(self.partitions)

    @property
    def is_rewound(self) -> bool:
        """Whether a position went back, and has not regained where it was or come to the log's end."""
        return bool(self._regain)

    def restart(self) -> None:
        """The topic was deleted and made anew: movements are counted from the next look on."""
        self.committed = [None] * len(self.committed)
        self._below.clear()
        self._regain.clear()
        self._starts = ()

    def clear(self) -> None:
        """The group has no position here any more, but still reads."""
        self._fit({}, self.read_at)
        if self.partitions:
            self._fit({}, self.read_at)
        self.margin = None
        self.upper_bound = False

    def touch(self, now: float) -> None:
        """The group was read, and has no position here."""
        self.read_at = now

    def orphan(self, *, orphaned: bool) -> None:
        """Note whether there is a position on a destination that does not exist; counts the transition."""
        if orphaned and not self.orphaned:
            self.deleted_topic += 1
        self.orphaned = orphaned

    def release(self) -> None:
        """Give back what it holds."""
        self.consumed.release(self.consumed_slot)
        self.produced.release(self.produced_slot)

    def _hold_all(self) -> None:
        for partition in self.partitions:
            self.stale.setdefault(partition, self.read_at)

    def _below_start(self, partition: int, position: int, start: int) -> None:
        """Count what retention deleted between the last look and this one, as far as it was not processed."""
        counted = self._below.get(partition)
        if counted is None and partition < len(self._starts):
            counted = self._starts[partition]
        if counted is not None:
            gone = start - max(position, counted)
            if gone > 0:
                self.lost += gone
        self._below[partition] = start

    def _match(self, offsets: Mapping[int, int | None], now: float) -> None:
        """Make room for the partitions of this look, if they are not those of the last."""
        if len(offsets) != len(self.partitions) or any(p not in offsets for p in self.partitions):
            self._fit(offsets, now)
        elif self._shrunk:
            self._shrunk = False

    def _fit(self, offsets: Mapping[int, int | None], now: float) -> None:
        """Change the set of partitions; one that is missing for the first time is kept once."""
        known = dict(
            zip(
                self.partitions,
                zip(self.committed, self.lag, self.labels, self.moved_at, strict=True),
                strict=True,
            )
        )
        gone = known.keys() - offsets.keys()
        keep = gone if not self._shrunk else set()
        self._shrunk = bool(keep)
        self.partitions = sorted({*offsets, *keep})
        self.committed, self.lag, self.labels = [], [], []
        self.moved_at = array("d")
        for partition in self.partitions:
            committed, lag, label, moved_at = known.get(partition) or (
                None,
                None,
                self._label(partition),
                now,
            )
            self.committed.append(committed)
            self.lag.append(lag)
            self.labels.append(label)
            self.moved_at.append(moved_at)
        for partition in gone - keep:
            self.stale.pop(partition, None)
            self.past_end.forget(partition)
            self._below.pop(partition, None)
            self._regain.pop(partition, None)
        self.coverage.commit(self.partitions, self.topic)


def visible(
    sub: LogSubscription, values: Sequence[int | None], hold: float, now: float
) -> Sequence[int | None]:
    """Return the values by partition, without those that could not be read for longer than `hold`."""
    if not sub.stale:
        return values
    return [
        None if partition in sub.stale and now - sub.stale[partition] > hold else value
        for partition, value in zip(sub.partitions, values, strict=True)
    ]
