"""Finds out whether any readable record follows a position.

A transaction marker takes an offset, and so do the records of an aborted transaction. A consumer
that has read everything stops before them, so its difference to the end is no backlog. Only reading
can show this: a consumer assigned to the position gets a record or the end of the partition. It
never joins a group and never commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException

from exporter.collectors.kafka.errors import describe, reason_of
from exporter.collectors.kafka.record_reader import RecordReader, TopicPartitionOffset
from exporter.model import CollectError, Deadline, Log, Positions

SMALL_LAG = 1_000
"""Maximum distance in offsets from a position to the end for a check."""
MAX_CHECKS = 200
"""Maximum number of partitions to check in a cycle."""
SECONDS = 1.5
"""Seconds for the checks of a cycle."""
DENIED = 600.0
"""Seconds to wait before a topic is read again after the broker denied it."""

Tail = tuple[str, int, bool]
"""Destination, partition, and whether only committed records count."""


class TailCheck(NamedTuple):
    """A check for records from a position to the log's end."""

    tail: Tail
    position: int
    end: int


class _LastPoll(NamedTuple):
    """Positions and ends in the last poll, and whether they left nothing to check."""

    offsets: Mapping[int, int | None]
    ends: Sequence[int | None]
    is_settled: bool


@dataclass(slots=True)
class _TailContent:
    """Read results of one partition.

    There is no record in [empty_from, empty_to), and one at or after `record`.
    """

    empty_from: int = 0
    empty_to: int = 0
    record: int = -1


class Tails:
    """Caches empty ends of partitions, and checks the unknown ones."""

    def __init__(self, properties: Callable[[], dict[str, Any]], source: str) -> None:
        self._readers = {
            isolated: RecordReader(properties, committed_only=isolated)
            for isolated in (False, True)
        }
        self._known: dict[Tail, _TailContent] = {}
        self._last_polls: dict[tuple[str, str], _LastPoll] = {}
        self._denied: dict[str, float] = {}
        self._log = structlog.get_logger(__name__).bind(source=source)
        self.gaps: set[str] = set()
        """Topics with offsets that have no record."""
        self.denied_reason: str | None = None

    def drained(self) -> dict[Tail, tuple[int, int]]:
        """Return the ranges without readable records at the logs' ends: first offset and end."""
        return {
            tail: (known.empty_from, known.empty_to)
            for tail, known in self._known.items()
            if known.empty_to > known.empty_from
        }

    def forget(self, topic: str) -> None:
        """Forget a deleted topic."""
        for tail in [tail for tail in self._known if tail[0] == topic]:
            del self._known[tail]
        self.gaps.discard(topic)
        self._denied.pop(topic, None)

    def forget_all_but(self, topics: Iterable[str], groups: Iterable[str]) -> None:
        """Forget deleted topics and groups."""
        present, groups = set(topics), set(groups)
        for topic in ({tail[0] for tail in self._known} | self._denied.keys()) - present:
            self.forget(topic)
        for pair in [p for p in self._last_polls if p[0] not in groups or p[1] not in present]:
            del self._last_polls[pair]

    def check_positions(
        self,
        logs: Mapping[str, Log],
        positions: Iterable[Positions],
        read_committed: Callable[[str], bool],
        deadline: Deadline,
    ) -> None:
        """Check positions that did not move and are close to the end, within the budget."""
        wanted = self._candidates(logs, positions, read_committed)
        if not wanted:
            return
        until = time.monotonic() + min(SECONDS, deadline.remaining())
        closest = sorted(wanted.values(), key=lambda check: check.end - check.position)[:MAX_CHECKS]
        for isolated in (False, True):
            checks = {check.tail[:2]: check for check in closest if check.tail[2] is isolated}
            if checks:
                self._read(isolated, checks, until)

    def close(self) -> None:
        """Close the consumers."""
        for reader in self._readers.values():
            reader.close()

    def _candidates(
        self,
        logs: Mapping[str, Log],
        positions: Iterable[Positions],
        read_committed: Callable[[str], bool],
    ) -> dict[Tail, TailCheck]:
        """Choose the highest position of each partition at most: it covers the others as well."""
        wanted: dict[Tail, TailCheck] = {}
        for group, by_topic in positions:
            isolated = read_committed(group)
            for topic, offsets in by_topic.items():
                log = logs.get(topic)
                if log is None or time.monotonic() < self._denied.get(topic, 0.0):
                    continue
                ends = log.stable if isolated else log.end
                before = self._last_polls.get((group, topic))
                if before is not None and before == (offsets, ends, True):
                    continue
                asked = False
                last_offsets = offsets if before is None else before.offsets
                for check in _unmoved(topic, log, offsets, last_offsets, isolated=isolated):
                    known = self._known.get(check.tail)
                    if known is not None and _is_answered(known, check):
                        continue
                    asked = True
                    chosen = wanted.get(check.tail)
                    if chosen is None or chosen.position < check.position:
                        wanted[check.tail] = check
                self._last_polls[group, topic] = _LastPoll(
                    offsets, ends, not asked and last_offsets == offsets
                )
        return wanted

    def _read(self, isolated: bool, checks: dict[tuple[str, int], TailCheck], until: float) -> None:
        requests = [
            TopicPartitionOffset(*partition, check.position) for partition, check in checks.items()
        ]
        try:
            for result in self._readers[isolated].read(requests, until):
                check = checks[result.requested[:2]]
                if result.fault is not None:
                    self._note_refusal(check, result.fault)
                elif result.record is None:
                    self._store(check, check.end)
                else:
                    self._store(check, result.record.offset())
        except (KafkaException, CollectError) as error:
            self._log.warning("tail.look_failed", error=str(error))

    def _store(self, check: TailCheck, offset: int | None) -> None:
        """Store the first result of a read after a position: a record's offset, or the end."""
        if offset is None:
            return
        known = self._known.setdefault(check.tail, _TailContent())
        if offset > check.position:
            self.gaps.add(check.tail[0])
        if offset < check.end:
            known.record = max(known.record, offset)
            return
        if not known.empty_from <= check.position <= known.empty_to:
            known.empty_from = check.position
        known.empty_to = check.end

    def _note_refusal(self, check: TailCheck, error: KafkaError) -> None:
        topic = check.tail[0]
        if reason_of(error) == "unauthorized":
            self._denied[topic] = time.monotonic() + DENIED
            text = describe(error, "give the user Read on the topic")
            if self.denied_reason is None:
                self._log.info("tail.not_allowed", topic=topic, error=text)
            self.denied_reason = text
        else:
            self._log.debug("tail.look_failed", topic=topic, error=describe(error))


def _is_answered(known: _TailContent, check: TailCheck) -> bool:
    if known.empty_from <= check.position and check.end <= known.empty_to:
        return True
    return check.position <= known.record < check.end


def _unmoved(
    topic: str,
    log: Log,
    offsets: Mapping[int, int | None],
    before: Mapping[int, int | None],
    *,
    isolated: bool,
) -> Iterator[TailCheck]:
    """Yield positions that did not move and are close to the end."""
    ends = log.stable if isolated else log.end
    count = len(ends)
    for partition, position in offsets.items():
        if position is None or partition >= count:
            continue
        end, start = ends[partition], log.start[partition]
        if end is None or start is None or start >= end:
            continue
        if before.get(partition) == position and 0 < end - max(position, start) <= SMALL_LAG:
            yield TailCheck((topic, partition, isolated), max(position, start), end)
