"""Finds ages and latencies of one cluster's subscriptions with a limited budget for each poll.

Decides which timestamp lookups and record reads a poll spends its budget on. If only a few offsets
are new, it reads their records: that is exact. Otherwise timestamp lookups bracket the offsets; all
groups of a partition share them. Single records are read where lookups cannot give a time, and to
verify the lookups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.ages.estimates import AgeTolerance
from exporter.collectors.kafka.ages.heads import BacklogSnapshot, HeadsTable
from exporter.collectors.kafka.ages.lookups import Lookup, Lookups
from exporter.collectors.kafka.ages.movements import Followed, Key, Movement
from exporter.collectors.kafka.ages.partition_table import PartitionTable
from exporter.collectors.kafka.ages.partition_times import PartitionTimes
from exporter.collectors.kafka.ages.poll_report import PollReport
from exporter.collectors.kafka.ages.read_points import ReadPoint
from exporter.collectors.kafka.ages.reading_choice import (
    READS,
    RECORD_READS,
    rotated,
    unread_points,
    worth_reading,
)
from exporter.collectors.kafka.ages.record_readings import RecordReadings
from exporter.collectors.kafka.ages.stamp_table import StampTable
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import Deadline, LogTimes, Method

LOOKUPS = 40_000
"""Lookups per poll. On a large cluster the first result takes several polls."""
ROUNDS = 24
LOOKUP_SHARE = 0.7
"""Fraction of a poll's time after which lookups stop."""
FUTURE_MS = 1_000
"""Clock difference in milliseconds above which a future timestamp counts as an anomaly."""
NO_RECORD_STEPS = 3
"""How many offsets to step back to find the last record before a position.

A transaction marker takes one offset.
"""


class TimesFinder:
    """Caches times of offsets, and requests the missing ones."""

    def __init__(self, settings: KafkaSettings, client: KafkaClient) -> None:
        self._settings = settings
        self._client = client
        self._tolerance = AgeTolerance(settings.tolerance_seconds, settings.tolerance_ratio)
        self._only_records = settings.header is not None or settings.method == "record"
        self._heads = HeadsTable()
        self._parts = PartitionTable()
        self._stamps = StampTable(self._method)
        self._followed = Followed(settings.latency_limit, settings.latency_groups)
        self._records = RecordReadings(settings, client)
        self._turn = 0
        """Grows by `READS` in each poll, so that waiting partitions are read in turn."""

    def find(self, snapshot: BacklogSnapshot, deadline: Deadline) -> LogTimes:
        """Find the times of the positions in a snapshot of the backlog."""
        self._turn += READS
        report = PollReport()
        at_ms = round(snapshot.at * 1000)
        heads = self._heads.observe(snapshot.backlog)
        movements = self._followed.observe(snapshot.backlog, snapshot.at, snapshot.committed_at)
        self._records.begin(snapshot.backlog)
        self._parts.observe(snapshot, self._heads.wanted(heads.values(), movements))
        unread = unread_points(self._readable())
        if self._only_records:
            self._read(rotated(unread, self._turn)[:RECORD_READS], report, deadline)
        else:
            few = len(unread) <= READS and self._settings.method == "auto"
            if few:
                self._read(unread, report, deadline)
            self._look_up(snapshot.leaders, at_ms, report, deadline)
            if not few:
                found = worth_reading(self._readable(), self._untrusted(), at_ms, self._turn)
                self._read(found, report, deadline)
        untrusted = self._untrusted()
        estimates = {
            (part.topic, part.partition): part.estimates(
                at_ms, self._tolerance, proven=part.topic not in untrusted
            )
            for part in self._parts
        }
        self._count_future(at_ms, report)
        return LogTimes(
            at=snapshot.at,
            stamps=self._stamps.observe(heads, estimates),
            latencies=self._latencies(movements, at_ms),
            sizes=dict(report.sizes),
            anomalies=dict(report.anomalies),
            problems=tuple(report.problems),
        )

    def close(self) -> None:
        """Close the consumers that read records; the next read makes new ones.

        Any thread may call it.
        """
        self._records.close()

    # Requests

    def _readable(self) -> list[PartitionTimes]:
        """Return the partitions with wanted offsets whose records may be read."""
        return [part for part in self._parts if part.wanted and self._records.may_read(part.topic)]

    def _untrusted(self) -> set[str]:
        """Return the topics whose lookups are not trusted."""
        return self._records.gaps | self._parts.disordered()

    def _read(
        self,
        wanted: Iterable[tuple[PartitionTimes, ReadPoint]],
        report: PollReport,
        deadline: Deadline,
    ) -> None:
        self._records.read(wanted, self._parts, report, deadline)

    def _look_up(
        self,
        leaders: Mapping[str, Sequence[int]],
        at_ms: int,
        report: PollReport,
        deadline: Deadline,
    ) -> None:
        """Narrow the brackets of unread offsets.

        Stop when all are narrow enough or the budget is used up.
        """
        lookups = Lookups(self._client, leaders)
        until = Share(deadline, LOOKUP_SHARE)
        feed = True
        for _ in range(ROUNDS):
            questions = [
                Lookup(part.topic, part.partition, question)
                for part in self._parts
                for question in chain(
                    part.questions(at_ms, self._tolerance),
                    part.feed(at_ms, self._tolerance) if feed else (),
                )
            ]
            feed = False
            room = LOOKUPS - lookups.asked
            if not questions or room <= 0 or until.remaining() <= 0:
                break
            for found in lookups.ask(questions[:room], until):
                lookup = found.lookup
                part = self._parts[lookup.topic, lookup.partition]
                if part.add_answer(lookup.time, found.offset, found.timestamp):
                    report.anomalies["unreadable"] += 1
        report.problems += lookups.problems

    # Results

    def _method(self, read: bool) -> Method:
        if self._only_records:
            return "record"
        return "record" if read and self._settings.method == "auto" else "time_index"

    def _count_future(self, at_ms: int, report: PollReport) -> None:
        """Count timestamps in the future that were not in the future in the last poll."""
        for part in self._parts:
            coming = part.future_offsets(at_ms + FUTURE_MS)
            report.anomalies["future"] += len(coming - part.future)
            part.future = coming

    def _latencies(self, movements: Iterable[Movement], at_ms: int) -> dict[Key, list[float]]:
        """Return, by subscription, the seconds that consumed messages had waited until consumed.

        Only the last message of each movement of a position is measured.
        """
        latencies: dict[Key, list[float]] = {key: [] for key in self._followed.keys}
        for movement in movements:
            part = self._parts.get((movement.topic, movement.partition))
            point = (movement.last, False)
            if part is None:
                continue
            read = part.valid_read(point)
            if read is not None and read.offset != movement.last:
                # There is no record at this offset, most likely a transaction marker. Try the
                # offset before.
                self._followed.retry(movement, movement.last - 1, NO_RECORD_STEPS)
                continue
            found = part.estimate(point, at_ms, self._tolerance, proven=False)
            if found is None or (not found.read and self._may_be_marker(part, movement)):
                self._followed.retry(movement, movement.last, NO_RECORD_STEPS)
            elif movement.key in latencies:
                latencies[movement.key].append(max(round(movement.at - found.time, 3), 0.0))
        return latencies

    def _may_be_marker(self, part: PartitionTimes, movement: Movement) -> bool:
        """Return whether a lookup may have found a marker, and retries are left to check that."""
        checked = part.trust.anywhere or not self._records.may_read(part.topic)
        return not checked and movement.tries + 1 < NO_RECORD_STEPS
