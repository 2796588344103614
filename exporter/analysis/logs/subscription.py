"""The state of one subscription of a log: offsets, lag, and what happened to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from exporter.analysis.histogram import Histogram
from exporter.analysis.history import History
from exporter.analysis.logs.ages import Ages
from exporter.analysis.logs.coverage import Coverage, Uncommitted
from exporter.analysis.logs.incidents import Incidents
from exporter.analysis.logs.positions import PositionTable
from exporter.analysis.logs.topic import LogTopic
from exporter.analysis.rates import CounterTable
from exporter.analysis.scaled import Scaled
from exporter.judgement.commit_gaps import CommitGaps
from exporter.judgement.judge import Judge
from exporter.judgement.repeated_commits import RepeatedCommits
from exporter.model import CommitSpan, Log

Drained = Mapping[tuple[str, int, bool], tuple[int, int]]
NO_HOLE = (0, -1)
NOTHING_DRAINED: Drained = {}


class LogSubscription:
    """Follows one group in one destination from poll to poll."""

    __slots__ = (
        "_committed_only",
        "_followed",
        "ages",
        "anomaly_labels",
        "commit_gaps",
        "consumed",
        "consumed_slot",
        "consumers",
        "coverage",
        "group",
        "history",
        "incidents",
        "judge",
        "label",
        "latency",
        "margin",
        "missing",
        "positions",
        "produced",
        "produced_slot",
        "read_at",
        "repeats",
        "scaled",
        "shown",
        "stayed_at",
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
        self.consumed: Final = consumed
        self.produced: Final = produced
        self.consumed_slot: Final = consumed.allocate(now)
        self.produced_slot: Final = produced.allocate(now)

        self.positions: Final = PositionTable(partition_label)
        self.incidents: Final = Incidents()
        self._followed: object | None = None
        """The offsets of the last poll; None if not all of them could be followed."""
        self._committed_only = False
        self.stayed_at: float | None = None
        """The last poll that found the same offsets of group and topic as the one before."""
        self.read_at = now
        self.missing = 0
        """Number of consecutive complete polls of the group without an offset here."""
        self.shown = False
        self.margin: int | None = None
        self.upper_bound = False

        self.ages: Final = Ages()
        self.commit_gaps: Final = CommitGaps()
        self.repeats: RepeatedCommits | None = None
        """Commits that repeat the present offsets; None if messages do not wait."""
        self.judge: Final = Judge()
        self.history: Final = History()
        self.scaled: Scaled | None = None
        """The scaling advice; None if nothing is advised."""
        self.latency: Histogram | None = None
        """Latencies of consumed messages; None if they are not measured."""
        self.time_to_loss: float | None = None
        """Seconds; None if unknown."""

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
        """Return the sum of known lags, to rank subscriptions. It may be too small or outdated."""
        return sum(lag for lag in self.positions.lag if lag)

    def advance(
        self,
        offsets: Mapping[int, int | None],
        *,
        read_committed: bool,
        drained: Drained,
        now: float,
        commits: CommitSpan | None = None,
        repeated: Collection[int] = (),
    ) -> None:
        """Add a poll of the group's offsets: partition to offset, None if unreadable.

        `commits` are the times of the commits that moved offsets, if they are known. `repeated` are
        partitions whose offset was committed again.
        """
        same = self.topic.same and self._followed is offsets and not drained
        if same and self._committed_only is read_committed:
            self._stay(now)
            self._note_repeats(now, repeated)
            return
        self._followed = None
        gone = self.positions.match(offsets, now)
        if gone is not None:
            self._follow(gone)
        log = self.topic.fresh
        if log is None:
            self.mark_stale()
            return
        is_whole = self._move(
            offsets, log, commits, read_committed=read_committed, drained=drained, now=now
        )
        self._note_repeats(now, repeated)
        if is_whole and gone is None and not drained:
            self._followed, self._committed_only = offsets, read_committed

    def _move(
        self,
        offsets: Mapping[int, int | None],
        log: Log,
        commits: CommitSpan | None,
        *,
        read_committed: bool,
        drained: Drained,
        now: float,
    ) -> bool:
        """Follow each offset; return whether all could be read."""
        table, incidents, topic = self.positions, self.incidents, self.topic
        starts, highs = log.start, log.end
        ends = log.stable if read_committed else highs
        known = len(ends)
        incidents.begin_poll()
        committed, lags = table.committed, table.lag
        margins: list[int] = []
        moved = 0
        for index, partition in enumerate(table.partitions):
            position = offsets.get(partition)
            start = starts[partition] if partition < known else None
            end = ends[partition] if partition < known else None
            high = highs[partition] if partition < known else None
            if position is None or start is None or end is None or high is None:
                table.stale.setdefault(partition, self.read_at)
                continue
            before = committed[index]
            committed[index] = position
            first = max(position, start)
            lag = max(end - first, 0)
            if drained and lag:
                hole = drained.get((topic.name, partition, read_committed), NO_HOLE)
                if hole[0] <= first and end <= hole[1]:
                    lag = 0  # no record between these offsets can be read
            lags[index] = lag
            moved += incidents.move(partition, before, position, start=start, end=end, high=high)
            if position != before:
                self.repeats = None
            if position != before or not lag:
                table.moved_at[index] = now
            margins.append(position - start)
            if table.stale:
                table.stale.pop(partition, None)
        is_whole = len(margins) == len(table.partitions)
        if is_whole and margins:
            self.margin = max(min(margins), 0)
        waits = any(lags)
        self.consumed.values[self.consumed_slot] += moved
        self.upper_bound = topic.gaps and waits
        self.commit_gaps.observe(now, moved=moved > 0, waiting=waits, commits=commits)
        self.read_at = now
        incidents.end_poll(starts)
        return is_whole

    def _stay(self, now: float) -> None:
        """Add a poll that found the same offsets of group and topic as the one before."""
        self.incidents.begin_poll()
        self.positions.stay(now)
        waits = any(self.positions.lag)
        self.upper_bound = self.topic.gaps and waits
        self.commit_gaps.observe(now, moved=False, waiting=waits)
        self.read_at = self.stayed_at = now

    def _note_repeats(self, now: float, repeated: Collection[int]) -> None:
        """Add the partitions whose offset was committed again since the last poll."""
        table = self.positions
        if self.repeats is not None and not any(table.lag):
            self.repeats = None
        if not repeated:
            return
        lags = dict(zip(table.partitions, table.lag, strict=True))
        if not any(lags.get(partition) for partition in repeated):
            return
        if self.repeats is None:
            self.repeats = RepeatedCommits(now)
        else:
            self.repeats.observe(now)

    def mark_stale(self) -> None:
        """The group could not be read: keep everything as it is."""
        self._followed = None
        self.positions.mark_stale(self.read_at)

    def add_produced(self) -> None:
        """Count what was produced since the last poll on the partitions that the group reads."""
        topic, partitions = self.topic, self.positions.partitions
        if topic.delta_sum:
            assigned = self.coverage.assigned
            reads = assigned.union(partitions) if assigned else partitions
            self.produced.values[self.produced_slot] += topic.produced_on(reads)

    def assign(
        self, readers: int | None, assigned: frozenset[int] | None, *, subscribes: bool = False
    ) -> None:
        """Set the members that read here, and the partitions assigned to them; None is unknown.

        `subscribes` is whether the group has no members and its last ones subscribed to topics.
        """
        self.consumers = readers
        self.coverage.assign(assigned, self.topic, has_members=bool(readers), subscribes=subscribes)

    def uncommitted(self, hold: float, now: float) -> Uncommitted | None:
        """Count messages on partitions that should be read but have no offset; None if unknown."""
        known = self.consumers is not None
        return self.coverage.uncommitted(self.topic, hold, now, members_known=known)

    def unreadable(self, hold: float, now: float) -> int:
        """Count partitions that the group reads and that are unreadable for longer than `hold`."""
        without = self.coverage.unreadable(self.topic, hold, now)
        return without + self.positions.unreadable(hold, now)

    @property
    def has_position(self) -> bool:
        """Whether the group has a committed offset here, readable or not."""
        return bool(self.positions.partitions)

    @property
    def had_position(self) -> bool:
        """Whether it has ever had one."""
        return self.incidents.has_polled or self.has_position

    def restart(self) -> None:
        """The topic was recreated: count movements from the next poll."""
        self._followed = self.repeats = None
        self.positions.restart()
        self.incidents.restart()

    def clear(self) -> None:
        """The group has no offset here any more, but still reads."""
        self._followed = self.repeats = None
        self._follow(self.positions.clear(self.read_at))
        self.margin = None
        self.upper_bound = False

    def release(self) -> None:
        """Free the slots of its counters."""
        self.consumed.release(self.consumed_slot)
        self.produced.release(self.produced_slot)

    def _follow(self, gone: Collection[int]) -> None:
        """Adapt to changed partitions; those in `gone` have no offset any more."""
        for partition in gone:
            self.incidents.forget(partition)
        self.coverage.commit(self.positions.partitions, self.topic)
