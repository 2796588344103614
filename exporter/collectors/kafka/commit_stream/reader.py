"""Reads `__consumer_offsets` from some offsets on and applies each commit to a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from exporter.collectors.kafka.commit_stream.generations import GenerationTable
from exporter.collectors.kafka.commit_stream.records import (
    COMMIT_VALUES,
    OFFSET,
    CommitKey,
    MalformedRecordError,
    commit_key,
    generation,
    group_key,
    has_generation,
)
from exporter.collectors.kafka.commit_stream.table import CommitTable
from exporter.collectors.kafka.commit_stream.times import Moves
from exporter.collectors.kafka.disposal import Client, dispose
from exporter.collectors.kafka.record_reader import ASSIGNED, make_consumer
from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import Deadline

READER: Mapping[str, Any] = {
    **ASSIGNED,
    # Commits of open transactions are not valid yet, those of aborted ones never.
    "isolation.level": "read_committed",
    # Without these, a broker sends a response for almost every commit.
    "fetch.min.bytes": 1 << 20,
    "fetch.wait.max.ms": 300,
    "fetch.error.backoff.ms": 50,
    "fetch.queue.backoff.ms": 50,
    "queued.min.messages": 100_000,
    "queued.max.messages.kbytes": 16_384,
}
BATCH = 1_000
POLL = 0.1
"""Seconds."""
MOST_KEYS = 100_000
"""Decoded keys that are kept. Most records have the key of an earlier one."""
_LOST = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._LOG_TRUNCATION,
    }
)
"""The records after the position are gone."""
_DENIED = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
)


class CommitReader:
    """A consumer of the topic. Used by one thread."""

    def __init__(
        self,
        properties: Callable[[], dict[str, Any]],
        table: CommitTable,
        allowed: Mapping[str, bool],
        describe_again: Callable[[Iterable[str]], None],
    ) -> None:
        """Commits of other groups than those in `table` are left out.

        `allowed[topic]` is whether commits for the topic are applied. `describe_again` is called
        with the groups that have changed. Raises `CollectError`.
        """
        self.position: dict[int, int] = {}
        """Partition to the offset up to which all records are applied."""
        self.lost: set[int] = set()
        """Partitions with records that were deleted before they were read."""
        self.denied: KafkaError | None = None
        """The error if the user may not read the topic."""
        self.unknown_records = 0
        """Number of records that this version cannot decode."""
        self._table = table
        self._describe_again = describe_again
        self.moves = Moves()
        self.generations = GenerationTable()
        self._repeated: set[CommitKey] = set()
        self._allowed = allowed
        self._keys: dict[bytes, CommitKey | None] = {}
        self._consumer = make_consumer(properties, READER)

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on; others stay as they are."""
        again = [TopicPartition(OFFSETS_TOPIC, p) for p in offsets if p in self.position]
        if again:
            self._consumer.incremental_unassign(again)
        self._consumer.incremental_assign(
            [TopicPartition(OFFSETS_TOPIC, p, offset) for p, offset in offsets.items()]
        )
        self.position.update(offsets)
        self.lost.difference_update(offsets)

    def drain(self, ends: Mapping[int, int], deadline: Deadline) -> None:
        """Apply the records up to these offsets, or until the deadline."""
        until = time.monotonic() + deadline.remaining()
        self._apply(self._consumer.consume(BATCH, 0))  # also errors
        behind = {p for p, end in ends.items() if self.position.get(p, end) < end}
        while behind - self.lost and time.monotonic() < until and self.denied is None:
            self._apply(self._consumer.consume(BATCH, POLL))
            behind = {p for p in behind if self.position[p] < ends[p]}

    def take_repeated(self) -> set[CommitKey]:
        """Return which offsets were committed again since the last call."""
        repeated, self._repeated = self._repeated, set()
        return repeated

    def close(self) -> None:
        """Close the consumer in the background."""
        clients: list[Client | None] = [self._consumer]
        del self._consumer
        dispose(clients)

    def _apply(self, messages: Sequence[Message]) -> None:
        """Apply records. This is the hot path: 5,000 commits a second are not unusual."""
        keys, groups, position = self._keys, self._table.groups, self.position
        moves, repeat = self.moves.add, self._repeat
        for message in messages:
            error = message.error()
            if error is not None:
                self._observe_error(error, message)
                continue
            place: int = message.partition()  # type: ignore[assignment]
            position[place] = message.offset() + 1  # type: ignore[operator]
            key: bytes = message.key() or b""
            try:
                found = keys[key]
            except KeyError:
                found = self._decoded(key, place)
            if found is None:
                self._note_group(key, message)
                continue
            name, topic, partition = found
            group = groups.get(name)
            if group is None:
                continue
            if place != group.partition:
                # The number of partitions was changed. The group is read from its coordinator.
                group.miss()
            value: bytes | None = message.value()
            if value is None:
                group.remove(topic, partition)
            elif len(value) >= OFFSET.stop and not value[0] and value[1] in COMMIT_VALUES:
                offset = int.from_bytes(value[OFFSET], "big", signed=True)
                has_moved = group.commit(topic, partition, offset)
                (moves if has_moved else repeat)(found, offset, value)
            else:
                # The group is read from its coordinator.
                self.unknown_records += 1
                group.miss()

    def _note_group(self, key: bytes, message: Message) -> None:
        """Note that a group has changed, and its generation, if the record has one."""
        name, value = group_key(key), message.value()
        if name is None or name not in self._table.groups:
            return
        self._describe_again((name,))
        if not has_generation(key):
            return
        if value is None:
            # The group was deleted, or goes on with another protocol.
            self.generations.miss(name)
            return
        try:
            self.generations.add(name, generation(key, value))
        except MalformedRecordError:
            # Its rebalances are counted by what the polls see.
            self.unknown_records += 1
            self.generations.miss(name)

    def _repeat(self, key: CommitKey, offset: int, _value: bytes) -> None:
        if offset >= 0:
            self._repeated.add(key)

    def _decoded(self, key: bytes, place: int) -> CommitKey | None:
        """Decode a new key; None for records to skip.

        A key that cannot be decoded may belong to any group of the partition.
        """
        if len(self._keys) >= MOST_KEYS:
            self._keys.clear()
        try:
            found = commit_key(key)
        except MalformedRecordError:
            self.unknown_records += 1
            self.lost.add(place)
            return None
        if found is not None and not self._allowed[found.topic]:
            found = None
        self._keys[key] = found
        return found

    def _observe_error(self, error: KafkaError, message: Message) -> None:
        code, partition = error.code(), message.partition()
        if code in _DENIED:
            self.denied = error
        elif partition is None or partition not in self.position:
            return
        elif code == KafkaError._PARTITION_EOF:
            # The last records may be markers of transactions, which are not delivered.
            offset = message.offset()
            if offset is not None and offset > self.position[partition]:
                self.position[partition] = offset
        elif code in _LOST:
            self.lost.add(partition)
