"""Committed offsets of many groups, and the ends of many logs, read with bounded numbers of requests in flight."""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from exporter.collectors.kafka.client import OUTLIVES, KafkaClient
from exporter.collectors.kafka.errors import GONE, describe, kafka_error, problem, reason_of
from exporter.collectors.kafka.topics import Topology
from exporter.model import Deadline, Log, Positions, Problem

WINDOW = 100
"""Groups whose offsets are asked for at once; thousands at once make every one of them time out."""
NO_LEADER = -1


@dataclass(slots=True)
class Commits:
    """Committed offsets by group, and what could not be read."""

    positions: dict[str, Positions] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_commits(
    client: KafkaClient,
    groups: Iterable[str],
    allowed: Mapping[str, bool],
    deadline: Deadline,
    *,
    named: Sequence[tuple[str, int]] | None = None,
) -> Commits:
    """Read the committed offsets of `groups` for the topics for which `allowed` holds.

    `named` are the partitions to ask for, where a broker can't be asked for all that there are.
    """
    commits = Commits()
    if named is not None and not named:
        commits.positions.update((group, Positions(group, {})) for group in groups)
        return commits
    for group, future in _in_window(client, groups, deadline, named):
        if future is None:
            commits.problems.append(
                Problem("timeout", f"offsets of group {group}", "no answer in time")
            )
            continue
        try:
            result = future.result()
        except KafkaException as error:
            inner = kafka_error(error)
            if inner is not None and inner.code() in GONE:
                commits.positions[group] = Positions(group, {})
                continue
            commits.problems.append(problem(f"offsets of group {group}", error))
            continue
        commits.positions[group] = _positions(group, result.topic_partitions, allowed, commits)
    return commits


def _positions(
    group: str,
    partitions: Iterable[TopicPartition],
    allowed: Mapping[str, bool],
    commits: Commits,
) -> Positions:
    offsets: dict[str, dict[int, int | None]] = {}
    current = ""
    bucket: dict[int, int | None] | None = None
    failed = None
    for item in partitions:
        topic = item.topic
        if topic != current:
            current = topic
            bucket = offsets.setdefault(topic, {}) if allowed[topic] else None
        if bucket is None:
            continue
        offset = item.offset
        if offset >= 0:
            bucket[item.partition] = offset
        elif item.error is not None and item.error.code() not in GONE:
            bucket[item.partition] = None
            failed = item
    if failed is not None and failed.error is not None:
        commits.problems.append(
            Problem(
                reason_of(failed.error),
                f"offset of group {group} in {failed.topic}/{failed.partition}",
                describe(failed.error),
            )
        )
    return Positions(group, {topic: found for topic, found in offsets.items() if found})


def _in_window(
    client: KafkaClient,
    groups: Iterable[str],
    deadline: Deadline,
    named: Sequence[tuple[str, int]] | None,
) -> Iterator[tuple[str, Future[Any] | None]]:
    """Ask for each group's offsets, `WINDOW` at a time, and yield the answers as they come.

    None stands for an answer that did not come in time.
    """
    admin = client.admin
    answers: queue.SimpleQueue[tuple[str, Future[Any]]] = queue.SimpleQueue()
    waiting = iter(groups)
    in_flight: set[str] = set()

    def ask() -> bool:
        group = next(waiting, None)
        if group is None:
            return False
        partitions = [TopicPartition(*pair) for pair in named] if named is not None else None
        request = ConsumerGroupTopicPartitions(group, partitions)
        timeout = deadline.remaining() + OUTLIVES
        future = admin.list_consumer_group_offsets([request], request_timeout=timeout)[group]
        in_flight.add(group)
        future.add_done_callback(lambda done: answers.put((group, done)))
        return True

    while len(in_flight) < WINDOW and deadline.remaining() > 0 and ask():
        pass
    while in_flight:
        try:
            group, future = answers.get(timeout=deadline.remaining())
        except queue.Empty:
            break
        in_flight.discard(group)
        if deadline.remaining() > 0:
            ask()
        yield group, future
    for group in in_flight:
        yield group, None
    for group in waiting:
        yield group, None


@dataclass(slots=True)
class Ends:
    """Start and end of each log, and what could not be read."""

    logs: dict[str, Log] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    silent: set[int] = field(default_factory=set)
    """Brokers of which no answer came."""


@dataclass(slots=True)
class _Columns:
    start: list[int | None]
    end: list[int | None]
    stable: list[int | None]


def read_ends(client: KafkaClient, topology: Topology, deadline: Deadline) -> Ends:
    """Read the first, the last and the last stable offset of every partition.

    Each broker is asked in a call of its own, so that one which hangs does not keep back the answers of the others.
    """
    columns = {
        topic: _Columns([None] * len(leaders), [None] * len(leaders), [None] * len(leaders))
        for topic, leaders in topology.leaders.items()
    }
    by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
    ends = Ends()
    for topic, leaders in topology.leaders.items():
        for partition, leader in enumerate(leaders):
            if leader == NO_LEADER:
                ends.problems.append(
                    Problem("unreachable", f"{topic}/{partition}", "the partition has no leader")
                )
            else:
                by_leader[leader].append(TopicPartition(topic, partition))
    timeout = max(deadline.remaining(), 0.1)
    latest, earliest = OffsetSpec.latest(), OffsetSpec.earliest()
    uncommitted, committed = IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED
    calls = [
        (
            leader,
            column,
            client.admin.list_offsets(
                dict.fromkeys(partitions, spec), isolation_level=isolation, request_timeout=timeout
            ),
        )
        for leader, partitions in by_leader.items()
        for column, spec, isolation in (
            # In this order: a start read after its end could be past it, and a last stable offset
            # read before its end would be below it on any topic that is written to.
            ("start", earliest, uncommitted),
            ("end", latest, uncommitted),
            ("stable", latest, committed),
        )
    ]
    for leader, column, futures in calls:
        _collect(client, futures, column, columns, ends, leader, deadline)
    ends.logs = {
        topic: Log(found.start, found.end, found.stable) for topic, found in columns.items()
    }
    return ends


def _collect(
    client: KafkaClient,
    futures: Mapping[TopicPartition, Future[Any]],
    column: str,
    columns: Mapping[str, _Columns],
    ends: Ends,
    leader: int,
    deadline: Deadline,
) -> None:
    failed: list[tuple[str, KafkaException]] = []
    for item, future in futures.items():
        try:
            offset = client.wait(future, deadline.remaining()).offset
        except KafkaException as error:
            inner = kafka_error(error)
            if inner is None or inner.code() not in GONE:
                failed.append((f"{item.topic}/{item.partition}", error))
            continue
        getattr(columns[item.topic], column)[item.partition] = offset if offset >= 0 else None
    if not failed:
        return
    if len(failed) == len(futures) and problem("", failed[0][1]).reason == "timeout":
        ends.silent.add(leader)
    ends.problems += [problem(subject, error) for subject, error in failed]
