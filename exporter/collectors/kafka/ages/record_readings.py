"""Reads records of one cluster at chosen offsets, and passes their times to the partitions."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable

import structlog
from confluent_kafka import KafkaError, KafkaException

from exporter.collectors.kafka.ages.partition_table import PartitionTable
from exporter.collectors.kafka.ages.partition_times import PartitionTimes
from exporter.collectors.kafka.ages.poll_report import PollReport
from exporter.collectors.kafka.ages.read_points import ReadPoint, ReadRecord
from exporter.collectors.kafka.ages.record_times import record_time, size
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import describe, problem, reason_of
from exporter.collectors.kafka.record_reader import ReadResult, RecordReader, TopicPartitionOffset
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError, Deadline, LogBacklog, Problem

READ_SECONDS = 2.0
DENIED = 600.0
"""Seconds to wait before a topic is read again after the broker denied it."""


class RecordReadings:
    """Two consumers, and facts on whole topics: which ones are denied, and which ones have gaps."""

    def __init__(self, settings: KafkaSettings, client: KafkaClient) -> None:
        self._header = settings.header
        self._readers = {
            committed_only: RecordReader(client.properties, committed_only=committed_only)
            for committed_only in (False, True)
        }
        self.gaps: set[str] = set()
        """Topics with offsets that have no record."""
        self._denied: dict[str, float] = {}
        """Topic to the monotonic time at which reading it may be tried again."""
        self._log = structlog.get_logger(__name__).bind(source=settings.name)

    def begin(self, backlog: LogBacklog) -> None:
        """Add the gaps found by the backlog task, and remove deleted topics."""
        self.gaps -= backlog.recreated
        self.gaps |= backlog.gaps
        if backlog.logs_complete:
            self.gaps &= backlog.logs.keys()
            for topic in self._denied.keys() - backlog.logs.keys():
                del self._denied[topic]

    def may_read(self, topic: str) -> bool:
        """Return whether to try to read a topic; False for a while after the broker denied it."""
        return not self._denied or time.monotonic() >= self._denied.get(topic, 0.0)

    def read(
        self,
        wanted: Iterable[tuple[PartitionTimes, ReadPoint]],
        parts: PartitionTable,
        report: PollReport,
        deadline: Deadline,
    ) -> None:
        """Read at offsets of `parts` until all are read or `READ_SECONDS` are over.

        The results go to the partitions. Failures, sizes and anomalies go to the report.
        """
        until = time.monotonic() + min(READ_SECONDS, deadline.remaining())
        by_reader: dict[bool, list[TopicPartitionOffset]] = defaultdict(list)
        for part, (offset, committed_only) in wanted:
            by_reader[committed_only].append(
                TopicPartitionOffset(part.topic, part.partition, offset)
            )
        for committed_only, requests in by_reader.items():
            reader = self._readers[committed_only]
            answered = False
            try:
                for result in reader.read(sorted(set(requests)), until):
                    answered = True
                    try:
                        self._store(result, parts, report, committed_only=committed_only)
                    except Exception as error:  # noqa: BLE001 - whatever a record contains, only it fails
                        subject = f"record of {result.requested.topic}/{result.requested.partition}"
                        report.problems.append(problem(subject, error))
            except KafkaException as error:
                report.problems.append(problem("reading of records", error))
            except CollectError as error:
                report.problems.append(Problem(error.reason, "reading of records", str(error)))
            if not answered:
                # The next read makes a new consumer, which reads the secrets again.
                reader.close()

    def _store(
        self, result: ReadResult, parts: PartitionTable, report: PollReport, *, committed_only: bool
    ) -> None:
        topic, partition, offset = result.requested
        part = parts[topic, partition]
        point = (offset, committed_only)
        if result.fault is not None:
            self._note_refusal(topic, result.fault)
            return
        record = result.record
        if record is None:
            part.add_read(point, ReadRecord(math.inf, part.end, part.end, part.polls))
            return
        found_at = record.offset()
        found = record_time(record, self._header)
        if found.anomaly is not None and not part.index.is_implausible(offset):
            report.anomalies[found.anomaly] += 1
        count, total = report.sizes.get(topic, (0, 0))
        report.sizes[topic] = (count + 1, total + size(record))
        read = ReadRecord(
            found.seconds,
            offset if found_at is None else found_at,
            part.end,
            part.polls,
            stamped=found.stamped,
        )
        if part.add_read(point, read):
            self.gaps.add(topic)

    def _note_refusal(self, topic: str, error: KafkaError) -> None:
        if reason_of(error) == "unauthorized":
            if not self._denied:
                # One log line is enough for all topics.
                self._log.info(
                    "times.not_allowed",
                    topic=topic,
                    error=describe(error, "give the user Read on the topics"),
                )
            self._denied[topic] = time.monotonic() + DENIED
        else:
            self._log.debug("times.read_failed", topic=topic, error=describe(error))

    def close(self) -> None:
        """Close the consumers; the next read makes new ones. Any thread may call it."""
        for reader in self._readers.values():
            reader.close()
