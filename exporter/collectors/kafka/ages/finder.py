"""Ages and latencies of one cluster's subscriptions: which lookups and readings a look at the time is worth.

Where few places are new, their records are read, which is exact. Otherwise lookups by timestamp bracket them, shared by
all groups of a partition, and single records are read where lookups can't tell, and to check that they tell the truth.
"""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException

from exporter.collectors.kafka.ages.estimates import Estimate, Tolerance
from exporter.collectors.kafka.ages.heads import Heads, Positions, find_heads, wanted_places
from exporter.collectors.kafka.ages.lookups import Lookup, Lookups
from exporter.collectors.kafka.ages.movements import Followed, Key, Movement
from exporter.collectors.kafka.ages.partition_table import PartitionTable
from exporter.collectors.kafka.ages.partition_times import PartitionTimes
from exporter.collectors.kafka.ages.places import Place, ReadRecord
from exporter.collectors.kafka.ages.record_times import record_time, size
from exporter.collectors.kafka.ages.trust import CHECKS
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import describe, problem, reason_of
from exporter.collectors.kafka.record_reader import Place as ReadPlace
from exporter.collectors.kafka.record_reader import Reading, RecordReader
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import (
    CollectError,
    Deadline,
    LogTimes,
    Method,
    Problem,
    Stamps,
    TimestampAnomaly,
)

READS = 200
"""Records read at a look: where no more places are new, all of them are read."""
FIRST_READS = 1_000
"""The same while there are partitions whose lookups were not checked yet."""
RECORD_READS = 1_500
"""The same where ages come from records only."""
READ_SECONDS = 2.0
LOOKUPS = 40_000
"""Lookups at a look; on a large cluster a first start takes several looks."""
ROUNDS = 24
LOOKUP_SHARE = 0.7
"""Part of a look's time by which the lookups must be done."""
FUTURE_MS = 1_000
"""Milliseconds by which clocks may differ before a timestamp to come is an anomaly."""
DENIED = 600.0
"""Seconds for which a topic that may not be read is not tried again."""
NO_RECORD_STEPS = 3
"""Offsets before a position at which its last record is looked for: a transaction's marker takes one."""


class Times:
    """Remembers what is known of time, and asks for what is not."""

    def __init__(self, settings: KafkaSettings, client: KafkaClient) -> None:
        self._settings = settings
        self._client = client
        self._tolerance = Tolerance(settings.tolerance_seconds, settings.tolerance_ratio)
        self._only_records = settings.header is not None or settings.method == "record"
        self._parts = PartitionTable()
        self._readers = {
            committed_only: RecordReader(client.properties, committed_only=committed_only)
            for committed_only in (False, True)
        }
        self._followed = Followed(settings.latency_limit, settings.latency_groups)
        self._gaps: set[str] = set()
        self._denied: dict[str, float] = {}
        self._turn = 0
        """Grows by what is read at a look, so that each that waits has its turn."""
        self._log = structlog.get_logger(__name__).bind(source=settings.name)

    def look(self, seen: Positions, deadline: Deadline) -> LogTimes:
        """Find the times of the positions that a look at the backlog saw."""
        self._turn += READS
        work = _Work(seen)
        heads = find_heads(seen.backlog)
        movements = self._followed.look(seen.backlog, seen.at)
        self._gaps -= seen.backlog.recreated
        self._gaps |= seen.backlog.gaps
        if seen.backlog.logs_complete:
            self._gaps &= seen.backlog.logs.keys()
            for topic in self._denied.keys() - seen.backlog.logs.keys():
                del self._denied[topic]
        self._parts.look(seen, wanted_places(heads.values(), movements))
        unread = self._unread()
        if self._only_records:
            self._read(_rotated(unread, self._turn)[:RECORD_READS], work, deadline)
        else:
            few = len(unread) <= READS and self._settings.method == "auto"
            if few:
                self._read(unread, work, deadline)
            self._look_up(work, deadline)
            if not few:
                self._read(self._worth_reading(work), work, deadline)
        untrusted = self._gaps | self._parts.disordered()
        estimates = {
            (part.topic, part.partition): part.estimates(
                work.at_ms, self._tolerance, proven=part.topic not in untrusted
            )
            for part in self._parts
        }
        self._count_future(work)
        return LogTimes(
            at=seen.at,
            stamps={key: self._stamps(found, estimates) for key, found in heads.items()},
            latencies=self._latencies(movements, work),
            sizes=dict(work.sizes),
            anomalies=dict(work.anomalies),
            problems=tuple(work.problems),
        )

    def close(self) -> None:
        """Let go of the consumers that read records; the next reading makes others. Any thread may call it."""
        for reader in self._readers.values():
            reader.close()

    # What is wanted

    def _unread(self) -> list[tuple[PartitionTimes, Place]]:
        return [
            (part, place)
            for part in self._parts
            if part.wanted and self._may_read(part.topic)
            for place in part.unread()
        ]

    # Lookups

    def _look_up(self, work: _Work, deadline: Deadline) -> None:
        """Narrow the brackets of what was not read, until they are narrow enough or the budget is used up."""
        lookups = Lookups(self._client, work.seen.leaders)
        until = _Before(deadline, LOOKUP_SHARE)
        feed = True
        for _ in range(ROUNDS):
            questions = [
                Lookup(part.topic, part.partition, question)
                for part in self._parts
                for question in chain(
                    part.questions(work.at_ms, self._tolerance),
                    part.feed(work.at_ms, self._tolerance) if feed else (),
                )
            ]
            feed = False
            room = LOOKUPS - lookups.asked
            if not questions or room <= 0 or until.remaining() <= 0:
                break
            for found in lookups.ask(questions[:room], until):
                lookup = found.lookup
                part = self._parts[lookup.topic, lookup.partition]
                if part.answered(lookup.time, found.offset, found.timestamp):
                    work.anomalies["unreadable"] += 1
        work.problems += lookups.problems

    # Readings

    def _worth_reading(self, work: _Work) -> list[tuple[PartitionTimes, Place]]:
        """Choose what to read beside the lookups: samples of what they told, and what they can't tell.

        Partitions that were not checked yet come first, once their lookups are done, then each in turn, and where
        there is room, all of their places. One topic of which lookups can't tell much must not keep others waiting.
        """
        doubtful: list[tuple[PartitionTimes, Place]] = []
        checks: list[PartitionTimes] = []
        others: list[PartitionTimes] = []
        unsure = self._gaps | self._parts.disordered()
        for part in self._parts:
            if not part.wanted or not self._may_read(part.topic):
                continue
            unread = part.unread()
            if part.topic in unsure or part.no_lookups:
                doubtful += [(part, place) for place in unread]
                continue
            doubtful += [(part, place) for place in part.doubtful(work.at_ms)]
            if unread:
                waits = part.narrowed and not part.trust.covers(min(unread)[0])
                (checks if waits else others).append(part)
        room = FIRST_READS if checks else READS
        doubtful = _rotated(doubtful, self._turn)
        urgent, more = _in_turn(checks[:room], CHECKS)
        sample, others_more = _in_turn(_rotated(others, self._turn)[:room], 1)
        samples = [*sample, *more, *others_more]
        share = max((room - len(urgent)) // 2, room - len(urgent) - len(samples), 0)
        return [*urgent, *doubtful[:share], *samples][:room]

    def _read(
        self, wanted: Iterable[tuple[PartitionTimes, Place]], work: _Work, deadline: Deadline
    ) -> None:
        until = time.monotonic() + min(READ_SECONDS, deadline.remaining())
        by_reader: dict[bool, list[ReadPlace]] = defaultdict(list)
        for part, (offset, committed_only) in wanted:
            by_reader[committed_only].append(ReadPlace(part.topic, part.partition, offset))
        for committed_only, places in by_reader.items():
            reader = self._readers[committed_only]
            answered = False
            try:
                for reading in reader.read(sorted(set(places)), until):
                    answered = True
                    try:
                        self._take(reading, work, committed_only=committed_only)
                    except Exception as error:  # noqa: BLE001 - whatever a record holds, it is its own failure
                        subject = f"record of {reading.place.topic}/{reading.place.partition}"
                        work.problems.append(problem(subject, error))
            except KafkaException as error:
                work.problems.append(problem("reading of records", error))
            except CollectError as error:
                work.problems.append(Problem(error.reason, "reading of records", str(error)))
            if not answered:
                # The next one connects anew, with secrets read anew.
                reader.close()

    def _take(self, reading: Reading, work: _Work, *, committed_only: bool) -> None:
        topic, partition, offset = reading.place
        part = self._parts[topic, partition]
        place = (offset, committed_only)
        if reading.fault is not None:
            self._refused(topic, reading.fault)
            return
        record = reading.record
        if record is None:
            part.take(place, ReadRecord(math.inf, part.end, part.end, part.looks))
            return
        found_at = record.offset()
        found = record_time(record, self._settings.header)
        if found.anomaly is not None and not part.index.has_met(offset):
            work.anomalies[found.anomaly] += 1
        count, total = work.sizes.get(topic, (0, 0))
        work.sizes[topic] = (count + 1, total + size(record))
        read = ReadRecord(
            found.seconds,
            offset if found_at is None else found_at,
            part.end,
            part.looks,
            stamped=found.stamped,
        )
        if part.take(place, read):
            self._gaps.add(topic)

    def _refused(self, topic: str, error: KafkaError) -> None:
        if reason_of(error) == "unauthorized":
            if not self._denied:
                # Of many topics, the first stands for all.
                self._log.info(
                    "times.not_allowed",
                    topic=topic,
                    error=describe(error, "give the user Read on the topics"),
                )
            self._denied[topic] = time.monotonic() + DENIED
        else:
            self._log.debug("times.read_failed", topic=topic, error=describe(error))

    def _may_read(self, topic: str) -> bool:
        return not self._denied or time.monotonic() >= self._denied.get(topic, 0.0)

    # Results

    def _stamps(
        self,
        heads: Heads,
        estimates: Mapping[tuple[str, int], Mapping[Place, Estimate]],
    ) -> Stamps:
        topic, committed_only, partitions, offsets = heads
        known: list[int] = []
        times = array("d")
        errors = array("d")
        read = True
        for partition, offset in zip(partitions, offsets, strict=True):
            if offset < 0:
                known.append(partition)
                times.append(math.inf)
                errors.append(0.0)
                continue
            found = estimates.get((topic, partition), NOTHING).get((offset, committed_only))
            if found is None:
                continue
            known.append(partition)
            times.append(found.time)
            errors.append(found.error)
            read = read and found.read
        return Stamps(known, times, errors, self._method(read=read))

    def _method(self, *, read: bool) -> Method:
        if self._only_records:
            return "record"
        return "record" if read and self._settings.method == "auto" else "time_index"

    def _count_future(self, work: _Work) -> None:
        """Count the timestamps that are newly found to lie in the future."""
        for part in self._parts:
            coming = part.to_come(work.at_ms + FUTURE_MS)
            work.anomalies["future"] += len(coming - part.future)
            part.future = coming

    def _latencies(self, movements: Iterable[Movement], work: _Work) -> dict[Key, list[float]]:
        """Return how long the last consumed message of each movement had waited when it was seen to be consumed."""
        latencies: dict[Key, list[float]] = {key: [] for key in self._followed.keys}
        for movement in movements:
            part = self._parts.get((movement.topic, movement.partition))
            place = (movement.last, False)
            if part is None:
                continue
            read = part.reading(place)
            if read is not None and read.offset != movement.last:
                # No record is there: a marker, most likely. The one before it was the last to be consumed.
                self._followed.retry(movement, movement.last - 1, NO_RECORD_STEPS)
                continue
            found = part.estimate(place, work.at_ms, self._tolerance, proven=False)
            if found is None or (not found.read and self._may_be_marker(part, movement)):
                self._followed.retry(movement, movement.last, NO_RECORD_STEPS)
            elif movement.key in latencies:
                latencies[movement.key].append(max(round(movement.at - found.time, 3), 0.0))
        return latencies

    def _may_be_marker(self, part: PartitionTimes, movement: Movement) -> bool:
        """Whether a lookup's answer may be a marker's timestamp, and there is still time to read what it is."""
        checked = part.trust.anywhere or not self._may_read(part.topic)
        return not checked and movement.tries + 1 < NO_RECORD_STEPS


T = TypeVar("T")

NOTHING: Mapping[Place, Estimate] = {}


def _rotated(items: list[T], turn: int) -> list[T]:
    """Return the list with another one of its items first."""
    first = turn % len(items) if items else 0
    return items[first:] + items[:first]


def _in_turn(
    parts: Iterable[PartitionTimes], each: int
) -> tuple[list[tuple[PartitionTimes, Place]], list[tuple[PartitionTimes, Place]]]:
    """Return so many places of each partition, those that tell most when they are read, and all the others."""
    first: list[tuple[PartitionTimes, Place]] = []
    others: list[tuple[PartitionTimes, Place]] = []
    for part in parts:
        places = [(part, place) for place in part.telling()]
        first += places[:each]
        others += places[each:]
    return first, others


class _Work:
    """What one look has come to so far."""

    def __init__(self, seen: Positions) -> None:
        self.seen = seen
        self.at_ms = round(seen.at * 1000)
        self.problems: list[Problem] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        self.anomalies: Counter[TimestampAnomaly] = Counter()


class _Before:
    """A deadline that ends before another one does."""

    def __init__(self, whole: Deadline, part: float) -> None:
        self._whole = whole
        self._reserve = whole.remaining() * (1.0 - part)

    def remaining(self) -> float:
        """Seconds, never negative."""
        return max(self._whole.remaining() - self._reserve, 0.0)
