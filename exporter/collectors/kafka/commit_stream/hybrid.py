"""Reads committed offsets from `__consumer_offsets` where possible, else from the coordinators.

In the first poll the coordinators are asked for all groups, as without the stream. The topic is
then read from the end that it had just before. In each later poll, a group's offsets come from the
topic if all of these hold; otherwise its coordinator is asked:

- The coordinator was asked for it in an earlier poll. So nothing is missing that is older.
- All records of its partition up to the end at the start of this poll were read. So the offsets are
  not older than if the coordinator had been asked now.
- Since then no record of its partition was missed or unknown.

Each poll also asks for some of the other groups, so that each is verified every few minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.commit_stream.described import DescribedGroups
from exporter.collectors.kafka.commit_stream.reader import CommitReader
from exporter.collectors.kafka.commit_stream.table import CommitTable, GroupOffsets
from exporter.collectors.kafka.commit_stream.times import MovedPolls
from exporter.collectors.kafka.commit_stream.topic_ends import TopicEnd, read_topic_ends
from exporter.collectors.kafka.commit_stream.verification import Verification
from exporter.collectors.kafka.commit_stream.way import RIGHT, Way
from exporter.collectors.kafka.errors import describe
from exporter.collectors.kafka.filters import KafkaFilters
from exporter.collectors.kafka.offsets import Commits, read_commits
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import (
    CollectError,
    CommitSpan,
    CommitStreamReport,
    Deadline,
    Generations,
    Positions,
    Problem,
)

ENDS_SHARE, DRAIN_SHARE = 0.2, 0.4
"""Fractions of the remaining time for the ends of the topic, and for its records."""
CLOSE_PATIENCE = 0.2
"""Seconds that `close` waits for a read in progress."""
LONGEST_SECONDS = 3600.0
"""After a longer pause everything is asked again: the topic may have lost deletions."""


class CommitNews(NamedTuple):
    """What the records of the topic say besides the committed offsets."""

    spans: Mapping[tuple[str, str], CommitSpan]
    """(group, topic) to the times of its commits."""
    repeated: Collection[tuple[str, str, int]]
    """(group, topic, partition) of offsets that were committed again."""
    generations: Mapping[str, Generations | None]
    """Groups with new generations; None if the last one is unknown."""


class HybridCommits:
    """The committed offsets of one source. Used by one task."""

    def __init__(self, settings: KafkaSettings, client: KafkaClient, filters: KafkaFilters) -> None:
        self.moved = MovedPolls()
        """When the positions of the last polls were committed. Any thread may take it."""
        self.described = DescribedGroups()
        """The groups that need not be described again."""
        self._way = Way(settings.name, settings.offsets)
        self._client = client
        self._filters = filters
        self._table = CommitTable()
        self._reader: CommitReader | None = None
        self._partitions = 1
        """Number of partitions of the topic."""
        self._poll = 0
        self._begun = 0
        """The poll in which the topic was first read."""
        self._verification = Verification()
        self._known = 0
        """Number of groups whose offsets came from the topic in the last poll."""
        self._disagreements = 0
        self._unknown_records = 0
        self._renews = False
        self._closed = False
        self._lock = threading.Lock()
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
            self._way.positions = _count(commits)
            if self._reader is not None:
                why = f"{len(groups)} groups, {self._way.positions} committed offsets"
                self._way.say("topic", why)
        return commits

    def take_news(self) -> CommitNews:
        """Return what else the records said since the last call.

        To be called when a poll has succeeded: what a failed one has read is not lost.
        """
        reader = self._reader
        if reader is None:
            return CommitNews({}, (), {})
        return CommitNews(
            reader.moves.take_spans(), reader.take_repeated(), reader.generations.take()
        )

    def report(self) -> CommitStreamReport | None:
        """Return what was read from the topic; None if it must not be read."""
        if self._way.mode == "admin":
            return None
        reader = self._reader
        unknown = 0 if reader is None else reader.unknown_records
        return CommitStreamReport(
            following=reader is not None,
            groups=self._known,
            disagreements=self._disagreements,
            unknown_records=self._unknown_records + unknown,
        )

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
            self._way.renew()
            self._stop()
        ends = self._ends(metadata, len(groups), deadline)
        following = self._reader is not None
        if ends is None or not self._way.follows(len(groups), following=following):
            self._stop()
        elif ends:
            try:
                found = self._follow(groups, ends, topics, deadline)
            except (CollectError, KafkaException, RuntimeError) as error:
                self._way.say("coordinators", f"{type(error).__name__}: {error}")
            else:
                if found is not None:
                    return found
            self._stop()
        commits = self._ask(groups, deadline)
        obstacle = self._way.obstacle
        if self._way.mode == "stream" and obstacle and groups:
            commits.problems.append(Problem("unauthorized", f"topic {OFFSETS_TOPIC}", obstacle))
        return commits

    def _stop(self) -> None:
        if self._reader is not None:
            self._unknown_records += self._reader.unknown_records
            self._reader.close()
            self._reader = None
        self._table = CommitTable()
        self.described.follow(())
        self._verification.forget()
        self._known, self._way.asked_share = 0, 0.0

    def _ask(self, groups: Sequence[str], deadline: Deadline) -> Commits:
        return read_commits(self._client, groups, self._filters.topics, deadline)

    def _ends(
        self, metadata: ClusterMetadata, groups: int, deadline: Deadline
    ) -> Mapping[int, TopicEnd] | None:
        """Return the ends of the topic's partitions, as far as they can be read.

        None if the topic is not to be followed.
        """
        if self._closed or not self._way.may_follow(groups, following=self._reader is not None):
            return None
        if not metadata.topics:
            return {}  # a broker that has just started
        topic = self._way.topic(metadata)
        if topic is None:
            return None
        if len(topic.partitions) != self._partitions:
            self._partitions = len(topic.partitions)
            self._stop()
        leaders = {partition.id: partition.leader for partition in topic.partitions.values()}
        share, now = Share(deadline, ENDS_SHARE), time.monotonic()
        ends = read_topic_ends(self._client, OFFSETS_TOPIC, leaders, share)
        if ends:
            self._way.measure(now, ends)
            if self._way.interval > LONGEST_SECONDS:
                self._stop()
        return ends

    # Following the topic

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
        wanted = [self._table.group(name, self._partitions) for name in groups]
        # What was read before cannot be past the end, unless the log was truncated.
        reader.lost.update(p for p, each in ends.items() if reader.position[p] > each.end)
        self._restart(reader, ends)
        # Records after an open transaction cannot be read yet.
        readable = {p: min(each) for p, each in ends.items()}
        reader.drain(readable, Share(deadline, DRAIN_SHARE))
        if reader.denied is not None:
            self._way.deny(describe(reader.denied, RIGHT))
            return None
        self._restart(reader, ends)
        self.moved.add(reader.moves.take_latest())
        current = {p for p, each in ends.items() if reader.position[p] >= each.end}

        def is_known(group: GroupOffsets) -> bool:
            return group.partition in current and self._table.is_loaded(group, self._poll)

        for group in self._verification.disagreeing(is_known, topics):
            self._disagreements += 1
            self._log.warning("offsets.disagreement", group=group.name)
            group.loaded = None  # its coordinator is asked again
        found, unknown, known = Commits(), [], []
        for group in wanted:
            if is_known(group):
                found.positions[group.name] = group.positions()
                known.append(group.name)
            else:
                unknown.append(group.name)
        self.described.follow(known)
        self._load(unknown, found, deadline)
        self._verify(known, found, deadline)
        self._known = len(known)
        # Everything is asked once after the start: that is no lasting cost.
        is_first = self._poll <= self._begun + 1
        self._way.asked_share = 0.0 if is_first or not groups else len(unknown) / len(groups)
        return found

    def _load(self, names: Sequence[str], found: Commits, deadline: Deadline) -> None:
        """Ask the coordinators for groups whose offsets cannot be taken from the topic."""
        asked = self._ask(names, deadline)
        for name, positions in asked.positions.items():
            if _is_whole(positions):
                group = self._table.groups[name]
                self._table.load(group, positions.offsets, self._poll)
        found.positions.update(asked.positions)
        found.problems += asked.problems

    def _verify(self, names: Sequence[str], found: Commits, deadline: Deadline) -> None:
        """Ask for the next groups in turn. Their offsets are compared in the next poll."""
        if deadline.remaining() <= 0:
            return
        asked = self._ask(self._verification.turn(names, self._way.interval), deadline)
        self._client.drop_after(asked.problems)
        for name, positions in asked.positions.items():
            if _is_whole(positions):
                self._verification.add(self._table.groups[name], positions)
                found.positions[name] = positions

    def _started(self, ends: Mapping[int, TopicEnd]) -> CommitReader:
        if self._reader is None:
            self._begun = self._poll
            self._reader = CommitReader(
                self._client.properties,
                self._table,
                self._filters.topics,
                self.described.forget,
            )
        # The records of open transactions are before the end, and may be committed later.
        new = {p: min(each) for p, each in ends.items() if p not in self._reader.position}
        if new:
            self._reader.start(new)
            self._table.missed(new)
        return self._reader

    def _restart(self, reader: CommitReader, ends: Mapping[int, TopicEnd]) -> None:
        """Go on at the end of partitions with records that were missed."""
        lost = {p: min(each) for p, each in ends.items() if p in reader.lost}
        if lost:
            self._log.warning("offsets.records_missed", partitions=sorted(lost))
            reader.start(lost)
            self._table.missed(lost)


def _is_whole(positions: Positions) -> bool:
    return all(
        offset is not None for offsets in positions.offsets.values() for offset in offsets.values()
    )


def _count(commits: Commits) -> int:
    """Return the number of committed offsets."""
    return sum(
        len(offsets) for each in commits.positions.values() for offsets in each.offsets.values()
    )
