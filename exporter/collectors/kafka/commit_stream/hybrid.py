"""Reads committed offsets from `__consumer_offsets` where possible, else from the coordinators.

In the first poll the coordinators are asked for all groups, as without the stream. The topic is
then read from the end that it had just before. In each later poll, a group's offsets come from the
topic if all of these hold; otherwise its coordinator is asked:

- The coordinator was asked for it in an earlier poll. So nothing is missing that is older.
- All records of its partition up to the end at the begin of this poll were read. So the offsets are
  not older than if the coordinator had been asked now.
- Since then no record of its partition was missed or unknown.

Each poll also asks for some of the other groups, so that each is verified every few minutes.
"""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.commit_stream.choice import Load, is_worth_it
from exporter.collectors.kafka.commit_stream.reader import CommitReader
from exporter.collectors.kafka.commit_stream.records import (
    CommitKey,
    commit_time,
    partition_of,
)
from exporter.collectors.kafka.commit_stream.table import CommitTable, GroupOffsets
from exporter.collectors.kafka.errors import describe
from exporter.collectors.kafka.filters import KafkaFilters
from exporter.collectors.kafka.offsets import Commits, TopicEnd, read_commits, read_topic_ends
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import CollectError, CommitStreamReport, Deadline, Positions, Problem

VERIFY_SECONDS = 600.0
"""Each group's offsets are verified once in this time."""
ENDS_SHARE, DRAIN_SHARE = 0.2, 0.4
"""Fractions of the remaining time for the ends of the topic, and for its records."""
MOST_POLLS = 100
"""Polls whose commits are kept if nothing asks for their times."""
CLOSE_PATIENCE = 0.2
"""Seconds that `close` waits for a read in progress."""
LONGEST_SECONDS = 3600.0
"""After a longer pause everything is asked again: the topic may have lost deletions."""
DENIED_SECONDS = 600.0
"""After this time without the right to read the topic it is tried again."""
RIGHT = f"give the user Read on the topic {OFFSETS_TOPIC}"


class CommitTimes:
    """When positions were committed, as far as that was read from the topic."""

    def __init__(self, moved: Mapping[CommitKey, tuple[int, bytes]]) -> None:
        self._moved = moved

    def of(self, group: str, topic: str, partition: int, offset: int) -> float | None:
        """Return the Unix time in seconds of the commit of this offset; None if it is unknown."""
        committed, value = self._moved.get(CommitKey(group, topic, partition), (-1, b""))
        return commit_time(value) if committed == offset else None


class _Verification(NamedTuple):
    """What a coordinator returned for a group that is read from the topic."""

    group: GroupOffsets
    returned: Positions
    commits: int
    """`group.commits` when the coordinator was asked."""


class HybridCommits:
    """The committed offsets of one source. Used by one task."""

    def __init__(self, settings: KafkaSettings, client: KafkaClient, filters: KafkaFilters) -> None:
        self._mode = settings.offsets
        self._client = client
        self._filters = filters
        self._table = CommitTable()
        self._reader: CommitReader | None = None
        self._generations: dict[int, int] = {}
        """Partition of the topic to how often its records were missed."""
        self._partitions = 1
        """Number of partitions of the topic."""
        self._poll = 0
        self._verifications: list[_Verification] = []
        self._verified = ""
        """The group that was verified last, in the order of names."""
        self._positions = 0
        """Number of committed offsets in the last poll."""
        self._seen: tuple[float, Mapping[int, TopicEnd]] | None = None
        """The ends of the topic in the last poll, and when they were read."""
        self._commits_per_second = math.inf
        self._interval = 10.0
        """Seconds between the last two polls."""
        self._denied_until = -math.inf
        self._obstacle = ""
        """Why the topic cannot be read."""
        self._known = 0
        """Number of groups whose offsets came from the topic in the last poll."""
        self._begun = 0
        """The poll in which the topic was first read."""
        self._asked_share = 0.0
        """Fraction of the groups whose coordinator had to be asked in the last poll."""
        self.moved: deque[Mapping[CommitKey, tuple[int, bytes]]] = deque(maxlen=MOST_POLLS)
        """What changed in each poll (see `CommitReader.moved`), for `commit_times`."""
        self._renews = False
        self._closed = False
        self._lock = threading.Lock()
        self._disagreements = 0
        self._unknown_records = 0
        self._said = ""
        self._log = structlog.get_logger(__name__).bind(source=settings.name)

    def renew(self) -> None:
        """Connect again, with the current secrets. Any thread may call it."""
        self._renews = True

    def close(self) -> None:
        """Stop following the topic, at the end of a read in progress. Any thread may call it.

        librdkafka must not close a consumer that another thread polls.
        """
        self._closed = True
        if self._lock.acquire(timeout=CLOSE_PATIENCE):
            try:
                self._stop()
            finally:
                self._lock.release()

    def _stop(self) -> None:
        if self._reader is not None:
            self._unknown_records += self._reader.unknown_records
            self._reader.close()
            self._reader = None
        self._table = CommitTable()
        self._verifications.clear()
        self._known, self._asked_share = 0, 0.0

    def read(
        self,
        groups: Sequence[str],
        metadata: ClusterMetadata,
        topics: Collection[str],
        deadline: Deadline,
    ) -> Commits:
        """Return the committed offsets of the groups.

        `topics` are the existing ones.
        """
        with self._lock:
            try:
                commits = self._read(groups, metadata, topics, deadline)
            except BaseException:
                # Records that were taken from the consumer may not have been applied.
                self._stop()
                raise
            if self._closed:
                self._stop()
        self._positions = sum(
            len(offsets) for each in commits.positions.values() for offsets in each.offsets.values()
        )
        return commits

    def _read(
        self,
        groups: Sequence[str],
        metadata: ClusterMetadata,
        topics: Collection[str],
        deadline: Deadline,
    ) -> Commits:
        self._poll += 1
        if self._renews:
            self._renews = False
            self._denied_until = -math.inf
            self._stop()
        ends = self._ends(metadata, len(groups), deadline)
        if ends is None or not self._decide(len(groups)):
            self._stop()
        elif ends:
            found = self._tried(groups, ends, topics, deadline)
            if found is not None:
                return found
            self._stop()
        commits = self._ask(groups, deadline)
        if self._mode == "stream" and self._obstacle and groups:
            subject = f"topic {OFFSETS_TOPIC}"
            commits.problems.append(Problem("unauthorized", subject, self._obstacle))
        return commits

    def _tried(
        self,
        groups: Sequence[str],
        ends: Mapping[int, TopicEnd],
        topics: Collection[str],
        deadline: Deadline,
    ) -> Commits | None:
        """Follow the topic; None if that is not possible."""
        try:
            return self._follow(groups, ends, topics, deadline)
        except CollectError as error:
            why = str(error)
        except (KafkaException, RuntimeError) as error:
            why = f"{type(error).__name__}: {error}"
        self._say("coordinators", why)
        return None

    def commit_times(self) -> CommitTimes:
        """Return the times of the commits that were read since the last call, in any thread."""
        moved: dict[CommitKey, tuple[int, bytes]] = {}
        while self.moved:
            moved.update(self.moved.popleft())
        return CommitTimes(moved)

    def report(self) -> CommitStreamReport | None:
        """Return what was read from the topic; None if it must not be read."""
        if self._mode == "admin":
            return None
        reader = self._reader
        return CommitStreamReport(
            following=reader is not None,
            groups=self._known,
            disagreements=self._disagreements,
            unknown_records=self._unknown_records
            + (0 if reader is None else reader.unknown_records),
        )

    # Which way

    def _ends(
        self, metadata: ClusterMetadata, groups: int, deadline: Deadline
    ) -> Mapping[int, TopicEnd] | None:
        """Return the ends of the topic's partitions, as far as they can be read.

        None if the topic is not to be followed.
        """
        if self._mode == "admin" or self._closed:
            return None
        following = self._reader is not None
        if self._mode == "auto" and not is_worth_it(self._load(groups, 0.0), following=following):
            # Whatever the rate of commits is
            self._say("coordinators", "few groups")
            return None
        if not metadata.topics:
            return {}  # a broker that has just started
        topic = metadata.topics.get(OFFSETS_TOPIC)
        if topic is None:
            self._obstacle = f"{RIGHT}, and Describe"
        elif time.monotonic() >= self._denied_until:
            self._obstacle = ""
        if topic is None or self._obstacle:
            self._say("coordinators", self._obstacle)
            return None
        if len(topic.partitions) != self._partitions:
            self._partitions = len(topic.partitions)
            self._stop()
        leaders = {partition.id: partition.leader for partition in topic.partitions.values()}
        share, now = Share(deadline, ENDS_SHARE), time.monotonic()
        ends = read_topic_ends(self._client, OFFSETS_TOPIC, leaders, share)
        if ends:
            self._measure(now, ends)
        return ends

    def _measure(self, now: float, ends: Mapping[int, TopicEnd]) -> None:
        """Measure the rate of commits since the last poll."""
        if self._seen is not None:
            at, before = self._seen
            self._interval = max(now - at, 0.1)
            written = sum(max(each.end - before.get(p, each).end, 0) for p, each in ends.items())
            self._commits_per_second = written / self._interval
            if self._interval > LONGEST_SECONDS:
                self._stop()
        self._seen = now, ends

    def _load(self, groups: int, commits_per_second: float) -> Load:
        commits = commits_per_second * self._interval
        asked = self._interval / VERIFY_SECONDS + self._asked_share
        return Load(groups, self._positions, commits, asked)

    def _decide(self, groups: int) -> bool:
        """Return whether to follow the topic."""
        if self._mode == "stream":
            return True
        load = self._load(groups, self._commits_per_second)
        if is_worth_it(load, following=self._reader is not None):
            return True
        if math.isfinite(self._commits_per_second):
            rate = f"{self._commits_per_second:.0f} commits per second"
            self._say("coordinators", f"{groups} groups, {rate}")
        return False

    def _say(self, way: str, why: str) -> None:
        """Log a change."""
        if way != self._said:
            self._said = way
            self._log.info("offsets.read_from", way=way, why=why)

    # Both ways

    def _ask(self, groups: Sequence[str], deadline: Deadline) -> Commits:
        return read_commits(self._client, groups, self._filters.topics, deadline)

    def _follow(
        self,
        groups: Sequence[str],
        ends: Mapping[int, TopicEnd],
        topics: Collection[str],
        deadline: Deadline,
    ) -> Commits | None:
        """Return the offsets; None if the user may not read the topic."""
        reader = self._started(ends)
        self._table.keep_only(groups)
        # Groups must be in the table before the records are read.
        wanted = [self._group(name) for name in groups]
        # What was read before cannot be past the end, unless the log was truncated.
        reader.lost.update(p for p, each in ends.items() if reader.position[p] > each.end)
        self._restart(reader, ends)
        # Records after an open transaction cannot be read yet.
        readable = {p: min(each) for p, each in ends.items()}
        reader.drain(readable, Share(deadline, DRAIN_SHARE))
        if reader.denied is not None:
            self._denied_until = time.monotonic() + DENIED_SECONDS
            self._obstacle = describe(reader.denied, RIGHT)
            self._say("coordinators", self._obstacle)
            return None
        self._restart(reader, ends)
        self.moved.append(reader.moved)
        reader.moved = {}
        current = {p for p, each in ends.items() if reader.position[p] >= each.end}
        self._compare(current, topics)
        found, unknown, known = Commits(), [], []
        for group in wanted:
            name = group.name
            if group.partition in current and self._is_loaded(group):
                found.positions[name] = group.positions()
                known.append(name)
            else:
                unknown.append(name)
        asked = self._ask(unknown, deadline)
        for name, positions in asked.positions.items():
            if _is_whole(positions):
                group = self._table.groups[name]
                group.load(positions.offsets, (self._generation(group), self._poll))
        found.positions.update(asked.positions)
        found.problems += asked.problems
        self._known = len(known)
        # Everything is asked once after the start: that is no lasting cost.
        is_first = self._poll <= self._begun + 1
        self._asked_share = 0.0 if is_first or not groups else len(unknown) / len(groups)
        self._verify(known, found, deadline)
        self._say("topic", f"{len(groups)} groups, {self._positions} committed offsets")
        return found

    def _started(self, ends: Mapping[int, TopicEnd]) -> CommitReader:
        if self._reader is None:
            self._begun = self._poll
            self._reader = CommitReader(self._client.properties, self._table, self._filters.topics)
        # The records of open transactions are before the end, and may be committed later.
        new = {p: min(each) for p, each in ends.items() if p not in self._reader.position}
        if new:
            self._reader.start(new)
            self._count_gap(new)
        return self._reader

    def _restart(self, reader: CommitReader, ends: Mapping[int, TopicEnd]) -> None:
        """Go on at the end of partitions with records that were missed."""
        lost = {p: min(each) for p, each in ends.items() if p in reader.lost}
        if lost:
            self._log.warning("offsets.records_missed", partitions=sorted(lost))
            reader.start(lost)
            self._count_gap(lost)

    def _count_gap(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._generations[partition] = self._generations.get(partition, 0) + 1

    def _group(self, name: str) -> GroupOffsets:
        group = self._table.groups.get(name)
        if group is None:
            group = GroupOffsets(name, partition_of(name, self._partitions))
            self._table.groups[name] = group
        return group

    def _generation(self, group: GroupOffsets) -> int:
        return self._generations.get(group.partition, 0)

    def _is_loaded(self, group: GroupOffsets) -> bool:
        """Return whether the coordinator was asked in an earlier poll, and no record was missed."""
        loaded = group.loaded
        return (
            loaded is not None
            and loaded[1] < self._poll
            and loaded[0] == self._generations.get(group.partition, 0)
        )

    # Verification

    def _verify(self, names: Sequence[str], found: Commits, deadline: Deadline) -> None:
        """Ask for the next groups in turn. Their offsets are compared in the next poll."""
        count = min(math.ceil(len(names) * self._interval / VERIFY_SECONDS), len(names))
        if not count or deadline.remaining() <= 0:
            return
        ordered = sorted(names)
        begin = bisect.bisect_right(ordered, self._verified)
        turn = [ordered[(begin + nth) % len(ordered)] for nth in range(count)]
        self._verified = turn[-1]
        asked = self._ask(turn, deadline)
        self._client.drop_after(asked.problems)
        for name, positions in asked.positions.items():
            if _is_whole(positions):
                group = self._table.groups[name]
                self._verifications.append(_Verification(group, positions, group.commits))
                found.positions[name] = positions

    def _compare(self, current: Collection[int], topics: Collection[str]) -> None:
        """Compare what was returned in the last poll with the topic.

        All records that were written before the coordinator was asked have been read meanwhile. A
        group with new ones cannot be compared.
        """
        for group, returned, commits in self._verifications:
            if (
                group.partition not in current
                or not self._is_loaded(group)
                or group.commits != commits
                or group.is_like(returned.offsets, topics)
            ):
                continue
            self._disagreements += 1
            self._log.warning("offsets.disagreement", group=group.name)
            group.loaded = None  # its coordinator is asked again
        self._verifications.clear()


def _is_whole(positions: Positions) -> bool:
    return all(
        offset is not None for offsets in positions.offsets.values() for offset in offsets.values()
    )
