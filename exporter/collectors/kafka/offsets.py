"""Reads committed offsets of many groups and ends of many logs, with few requests in flight."""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from exporter.collectors.kafka.client import OUTLIVE_SECONDS, KafkaClient
from exporter.collectors.kafka.errors import (
    GONE,
    describe,
    is_silent,
    kafka_error,
    problem,
    reason_of,
)
from exporter.collectors.kafka.topics import LEADERLESS, Topology
from exporter.model import Deadline, Log, Positions, Problem, Reason

WINDOW = 100
"""Groups requested at the same time; with thousands, every request would time out."""
PartitionKey = tuple[str, int]
"""Topic and partition."""
UNKNOWN = -1001
"""The offset that librdkafka returns as a success if there was no answer."""


@dataclass(slots=True)
class Commits:
    """Committed offsets by group, and the problems."""

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
    """Read the committed offsets of `groups` for the topics with `allowed[topic]`.

    `named` are the partitions to request, for brokers that cannot return all offsets of a group.
    """
    commits = Commits()
    if named is not None and not named:
        commits.positions.update((group, Positions(group, {})) for group in groups)
        return commits
    for group, future in _in_window(client, groups, deadline, named):
        if future is None:
            commits.problems.append(
                Problem("timeout", f"offsets of group {group}", "no response in time")
            )
            continue
        try:
            positions = client.read(
                future,
                0.0,
                lambda result: _positions(
                    group,  # noqa: B023 - called at once
                    result.topic_partitions,
                    allowed,
                    commits,
                ),
            )
        except KafkaException as error:
            inner = kafka_error(error)
            if inner is not None and inner.code() in GONE:
                commits.positions[group] = Positions(group, {})
                continue
            commits.problems.append(problem(f"offsets of group {group}", error))
            continue
        commits.positions[group] = positions
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
    """Request the groups' offsets, `WINDOW` groups at a time, and yield the answers as they come.

    None means that there was no answer in time.
    """
    admin = client.admin

    def request(group: str) -> Mapping[str, Future[Any]]:
        partitions = [TopicPartition(*pair) for pair in named] if named is not None else None
        return admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, partitions)],
            request_timeout=deadline.remaining() + OUTLIVE_SECONDS,
        )

    answers: queue.SimpleQueue[tuple[str, Future[Any]]] = queue.SimpleQueue()
    waiting = iter(groups)
    in_flight: set[str] = set()

    def ask() -> bool:
        group = next(waiting, None)
        if group is None:
            return False
        ((_, future),) = client.ask([group], lambda _: request(group))
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
    """Start and end of each log, and the problems."""

    logs: dict[str, Log] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    silent: set[int] = field(default_factory=set)
    """Brokers that did not answer."""
    asked: frozenset[int] = frozenset()
    """Brokers that were asked."""
    nothing_read: bool = False
    """Whether all requests failed, whatever the error code."""

    @property
    def nobody_answered(self) -> bool:
        """Whether brokers were asked, and no partition's end was read."""
        return bool(self.asked) and (self.silent >= self.asked or self.nothing_read)


@dataclass(slots=True)
class _Columns:
    start: list[int | None]
    end: list[int | None]
    stable: list[int | None]


def read_ends(client: KafkaClient, topology: Topology, deadline: Deadline) -> Ends:
    """Read the start, the end and the last stable offset of every partition.

    Each broker is asked in a separate call, so that one that hangs does not delay the others.
    """
    columns = {
        topic: _Columns([None] * len(leaders), [None] * len(leaders), [None] * len(leaders))
        for topic, leaders in topology.leaders.items()
    }
    by_leader: dict[int, list[PartitionKey]] = defaultdict(list)
    ends = Ends()
    for topic, leaders in topology.leaders.items():
        for partition, leader in enumerate(leaders):
            if leader < 0:
                ends.problems.append(
                    Problem("unreachable", f"{topic}/{partition}", LEADERLESS[leader])
                )
            else:
                by_leader[leader].append((topic, partition))
    ends.asked = frozenset(by_leader)
    timeout = client.request_seconds(deadline)
    latest, earliest = OffsetSpec.latest(), OffsetSpec.earliest()
    uncommitted, committed = IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED
    calls = [
        (
            leader,
            column,
            client.ask(partitions, offsets_call(client, spec, isolation, timeout)),
        )
        for leader, partitions in by_leader.items()
        for column, spec, isolation in (
            # The order matters: a start read after its end could be past it, and a last stable
            # offset read before its end would be below it on any topic with writes.
            ("start", earliest, uncommitted),
            ("end", latest, uncommitted),
            ("stable", latest, committed),
        )
    ]
    for leader, column, futures in calls:
        _collect(client, futures, column, columns, ends, leader, deadline)
    ends.nothing_read = bool(ends.problems) and not any(
        end is not None for found in columns.values() for end in found.end
    )
    if not ends.nothing_read:
        client.answered(ends.asked - ends.silent)
    _name_silent(client, ends, by_leader, topology)
    ends.logs = {
        topic: Log(found.start, found.end, found.stable) for topic, found in columns.items()
    }
    return ends


def offsets_call(
    client: KafkaClient, spec: OffsetSpec, isolation: IsolationLevel, timeout: float
) -> Callable[[list[PartitionKey]], Mapping[TopicPartition, Future[Any]]]:
    """Return a call that lists one offset of each partition, for `KafkaClient.ask`."""

    def call(keys: list[PartitionKey]) -> Mapping[TopicPartition, Future[Any]]:
        found: Mapping[TopicPartition, Future[Any]] = client.admin.list_offsets(
            {TopicPartition(*key): spec for key in keys},
            isolation_level=isolation,
            request_timeout=timeout,
        )
        return found

    return call


def _name_silent(
    client: KafkaClient,
    ends: Ends,
    by_leader: Mapping[int, Sequence[PartitionKey]],
    topology: Topology,
) -> None:
    """Put one problem per silent broker first, instead of one per partition."""
    if not ends.silent:
        return
    names = {leader: topology.nodes.get(leader, str(leader)) for leader in sorted(ends.silent)}
    client.silent(names)
    why = client.unreachable_nodes()
    for leader, name in names.items():
        reason: Reason = "unreachable" if leader in why else "timeout"
        found = f"cannot be reached: {why[leader]}" if leader in why else "no response in time"
        count = len(by_leader[leader])
        message = f"{found}; the ends of the {count} partitions that it leads cannot be read"
        ends.problems.insert(0, Problem(reason, f"broker {name}", message))


def listed_offset(found: Any) -> int:
    """Return the offset in an answer of `list_offsets`.

    Raises `KafkaException` if there was no answer.
    """
    offset: int = found.offset
    if offset == UNKNOWN:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return offset


def _collect(
    client: KafkaClient,
    futures: Sequence[tuple[PartitionKey, Future[Any]]],
    column: str,
    columns: Mapping[str, _Columns],
    ends: Ends,
    leader: int,
    deadline: Deadline,
) -> None:
    failed: list[tuple[str, KafkaException]] = []
    for (topic, partition), future in futures:
        try:
            offset = client.read(future, deadline.remaining(), listed_offset)
        except KafkaException as error:
            inner = kafka_error(error)
            if inner is None or inner.code() not in GONE:
                failed.append((f"{topic}/{partition}", error))
            continue
        getattr(columns[topic], column)[partition] = offset if offset >= 0 else None
    if not failed:
        return
    first = kafka_error(failed[0][1])
    if len(failed) == len(futures) and first is not None and is_silent(first):
        ends.silent.add(leader)
        return
    ends.problems += [problem(subject, error) for subject, error in failed]
