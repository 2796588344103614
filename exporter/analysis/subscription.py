"""The state of one subscription of a log: where the group stands in it, and what happened to its position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from exporter.analysis.ages import Ages
from exporter.analysis.commits import CommitGaps
from exporter.analysis.histogram import Histogram
from exporter.analysis.history import History
from exporter.analysis.judge import Judge
from exporter.analysis.rates import CounterTable
from exporter.analysis.topic import LogTopic

Drained = Mapping[tuple[str, int, bool], tuple[int, int]]
NO_HOLE = (0, -1)


class LogSubscription:
    """Follows one group in one destination from look to look."""

    __slots__ = (
        "_assigned",
        "_below",
        "_label",
        "_past",
        "_regain",
        "_seen",
        "_shrunk",
        "_starts",
        "_unassigned",
        "ages",
        "anomaly_labels",
        "committed",
        "consumed",
        "consumed_slot",
        "consumers",
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
        "uncommitted_messages",
        "uncommitted_partitions",
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
        self.past_end = 0
        self.deleted_topic = 0
        self.orphaned = False
        """Whether there is a position on a destination that does not exist."""
        self._past: dict[int, None] = {}  # an empty set is three times as large, and there are many
        self._below: dict[int, int] = {}
        self._regain: dict[int, int] = {}
        self._starts: Sequence[int | None] = ()
        self._shrunk = False
        self._seen = False

        self.consumers: int | None = None
        self.uncommitted_partitions: int | None = None
        self.uncommitted_messages: int | None = None
        self._assigned: frozenset[int] = frozenset()
        self._unassigned: list[int] = []

    def total_lag(self) -> int:
        """Sum over the partitions whose lag is known."""
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
        if len(offsets) != len(self.partitions) or any(p not in offsets for p in self.partitions):
            self._fit(offsets)
        elif self._shrunk:
            self._shrunk = False
        topic = self.topic
        log = topic.fresh
        if log is None:
            self._hold_all()
            return
        starts = log.start
        ends = log.stable if read_committed else log.end
        known = len(ends)
        margins: list[int] = []
        moved = 0
        for index, partition in enumerate(self.partitions):
            position = offsets.get(partition)
            start = starts[partition] if partition < known else None
            end = ends[partition] if partition < known else None
            if position is None or start is None or end is None:
                self.stale.setdefault(partition, self.read_at)
                continue
            moved += self._advance_partition(index, partition, position, start, end)
            if drained and self.lag[index]:
                hole = drained.get((topic.name, partition, read_committed), NO_HOLE)
                if hole[0] <= max(position, start) and end <= hole[1]:
                    self.lag[index] = 0
            margins.append(position - start)
            if self.stale:
                self.stale.pop(partition, None)
        if margins:
            self.margin = max(min(margins), 0)
        self.consumed.values[self.consumed_slot] += moved
        self.upper_bound = topic.gaps and any(self.lag)
        self.gaps.look(now, moved=moved > 0, waiting=any(self.lag))
        self.read_at = now
        self._starts = starts
        self._seen = True

    def _advance_partition(
        self, index: int, partition: int, position: int, start: int, end: int
    ) -> int:
        """Take one position; returns how many messages were processed since the look before."""
        before = self.committed[index]
        self.committed[index] = position
        self.lag[index] = max(end - max(position, start), 0)
        # Deleted unread at the look before: what moves past these was not processed.
        lost_up_to = self._below.get(partition, 0) if self._below else 0
        if position < start:
            self._below_start(partition, position, start)
        elif self._below:
            self._below.pop(partition, None)
        if position > end:
            self._past_end(partition)
        elif self._past:
            self._past.pop(partition, None)
        if before is None or position == before or position > end:
            return 0
        if position < before:
            self.rewinds += 1
            self._regain.setdefault(partition, before)
            return 0
        if self._regain and (position >= self._regain.get(partition, position) or position == end):
            self._regain.pop(partition, None)
        return max(position - max(before, lost_up_to), 0)

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
            reads = self._assigned.union(self.partitions) if self._assigned else self.partitions
            added = sum(delta[partition] for partition in reads if partition < known)
        self.produced.values[self.produced_slot] += added

    def assign(self, readers: int | None, assigned: frozenset[int] | None) -> None:
        """Take what the group's description says: members that read here, and the partitions they have.

        None is unknown.
        """
        self.consumers = readers
        if assigned is None:
            self._assigned = frozenset()
            self.uncommitted_partitions = self.uncommitted_messages = None
            return
        if assigned != self._assigned or self.uncommitted_partitions is None:
            self._assigned = assigned
            self._find_unassigned()
        self.count_uncommitted()

    def count_uncommitted(self) -> None:
        """Count assigned partitions that hold messages and have no committed offset."""
        if self.consumers is None:
            return
        partitions = messages = 0
        topic = self.topic
        for partition in self._unassigned:
            if partition >= topic.partitions:
                continue
            start, end = topic.start[partition], topic.end[partition]
            if start is not None and end is not None and end > start:
                partitions += 1
                messages += end - start
        self.uncommitted_partitions, self.uncommitted_messages = partitions, messages

    @property
    def is_rewound(self) -> bool:
        """Whether a position went back, and has not regained where it was or come to the log's end."""
        return bool(self._regain)

    @property
    def is_assigned(self) -> bool:
        """Whether a member reads here."""
        return bool(self._assigned)

    def restart(self) -> None:
        """The topic was deleted and made anew: movements are counted from the next look on."""
        self.committed = [None] * len(self.committed)
        self._below.clear()
        self._regain.clear()
        self._starts = ()

    def clear(self) -> None:
        """The group has no position here any more, but still reads."""
        self._fit({})
        if self.partitions:
            self._fit({})
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

    def _past_end(self, partition: int) -> None:
        if partition in self._past:
            return
        self._past[partition] = None
        if self._seen:
            self.past_end += 1

    def _find_unassigned(self) -> None:
        self._unassigned = sorted(self._assigned.difference(self.partitions))

    def _fit(self, offsets: Mapping[int, int | None]) -> None:
        """Change the set of partitions; one that is missing for the first time is kept once."""
        known = dict(
            zip(
                self.partitions,
                zip(self.committed, self.lag, self.labels, strict=True),
                strict=True,
            )
        )
        gone = known.keys() - offsets.keys()
        keep = gone if not self._shrunk else set()
        self._shrunk = bool(keep)
        self.partitions = sorted({*offsets, *keep})
        self.committed, self.lag, self.labels = [], [], []
        for partition in self.partitions:
            committed, lag, label = known.get(partition) or (None, None, self._label(partition))
            self.committed.append(committed)
            self.lag.append(lag)
            self.labels.append(label)
        for partition in gone - keep:
            self.stale.pop(partition, None)
            self._past.pop(partition, None)
            self._below.pop(partition, None)
            self._regain.pop(partition, None)
        self._find_unassigned()


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
