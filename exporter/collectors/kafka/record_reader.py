"""Reads single records at given offsets with an assigned consumer.

It never joins a group, never commits, and changes no group's position.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from exporter.collectors.kafka.client_factory import make_client
from exporter.collectors.kafka.disposal import Client, dispose
from exporter.collectors.kafka.errors import is_argument_error, kafka_error
from exporter.model import CollectError

POLL = 0.1
"""Seconds."""
ASSIGNED: Mapping[str, Any] = {
    "group.id": "mq-lag-exporter-reader",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
}
"""Properties of a consumer that is assigned to offsets and leaves no state on the broker."""
READER: Mapping[str, Any] = {
    **ASSIGNED,
    "fetch.wait.max.ms": 10,
    "fetch.queue.backoff.ms": 1,
    "fetch.error.backoff.ms": 50,
    "max.partition.fetch.bytes": 4096,
    "queued.min.messages": 1,
    "queued.max.messages.kbytes": 1024,
}
"""Properties of such a consumer that reads single records quickly."""


class TopicPartitionOffset(NamedTuple):
    """An offset to read at."""

    topic: str
    partition: int
    offset: int


class ReadResult(NamedTuple):
    """The result of a read: the first record at or after the offset, the end, or an error."""

    requested: TopicPartitionOffset
    record: Message | None
    """None at the partition's end, and on an error."""
    fault: KafkaError | None = None


CLOSE_PATIENCE = 0.2
"""Seconds that `close` waits for a read in progress; after that the read closes the consumer."""


class RecordReader:
    """One consumer, made at first use. One thread reads at a time; any thread may close it."""

    def __init__(self, properties: Callable[[], dict[str, Any]], *, committed_only: bool) -> None:
        """`committed_only` skips records of open and aborted transactions."""
        self._properties = properties
        self._level = "read_committed" if committed_only else "read_uncommitted"
        self._consumer: Consumer | None = None
        self._lock = threading.Lock()
        self._is_closing = False

    def read(self, requests: Iterable[TopicPartitionOffset], until: float) -> Iterator[ReadResult]:
        """Yield the results in any order.

        Stops when all are read, when the monotonic clock reaches `until`, or when the reader is
        closed. Raises `CollectError` if the client cannot be made, `KafkaException` if it fails.
        """
        with self._lock:
            if self._is_closing:
                self._close_consumer()
            try:
                yield from self._read(requests, until)
            finally:
                if self._is_closing:
                    self._close_consumer()

    def _read(self, requests: Iterable[TopicPartitionOffset], until: float) -> Iterator[ReadResult]:
        waiting: dict[tuple[str, int], deque[TopicPartitionOffset]] = {}
        for requested in requests:
            waiting.setdefault(requested[:2], deque()).append(requested)
        if not waiting:
            return
        consumer = self._make_client()
        try:
            yield from _assign(consumer, waiting)
            while waiting and time.monotonic() < until and not self._is_closing:
                message = consumer.poll(min(POLL, max(until - time.monotonic(), 0.0)))
                result = None if message is None else _matching_result(message, waiting)
                if result is None:
                    continue
                yield result
                key = result.requested[:2]
                queue = waiting[key]
                queue.popleft()
                consumer.incremental_unassign([TopicPartition(*key)])
                if not queue:
                    del waiting[key]
                    continue
                yield from _assign_more(consumer, key, waiting)
        finally:
            consumer.unassign()

    def close(self) -> None:
        """Close the consumer; the next read makes a new one.

        librdkafka must not close a consumer that another thread polls, so a read in progress ends
        first.
        """
        self._is_closing = True
        if self._lock.acquire(timeout=CLOSE_PATIENCE):
            try:
                self._close_consumer()
            finally:
                self._lock.release()

    def _close_consumer(self) -> None:
        self._is_closing = False
        if self._consumer is not None:
            clients: list[Client | None] = [self._consumer]
            self._consumer = None
            dispose(clients)

    def _make_client(self) -> Consumer:
        if self._consumer is None:
            fixed = {**READER, "isolation.level": self._level}
            self._consumer = make_consumer(self._properties, fixed)
        return self._consumer


def make_consumer(properties: Callable[[], dict[str, Any]], fixed: Mapping[str, Any]) -> Consumer:
    """Return a consumer with the source's properties and `fixed` ones. Raises `CollectError`."""
    try:
        return make_client(lambda given: Consumer({**given, **fixed}), properties)
    except KafkaException as error:
        inner = kafka_error(error)
        raise CollectError("invalid", "" if inner is None else inner.str()) from None


def _assign(
    consumer: Consumer, waiting: dict[tuple[str, int], deque[TopicPartitionOffset]]
) -> Iterator[ReadResult]:
    """Assign the first offset of each partition.

    Yield and drop the ones that the library rejects.
    """
    try:
        consumer.assign([TopicPartition(*queue[0]) for queue in waiting.values()])
    except Exception as error:
        if not is_argument_error(error):
            raise
        for key in list(waiting):
            yield from _assign_more(consumer, key, waiting)


def _assign_more(
    consumer: Consumer,
    key: tuple[str, int],
    waiting: dict[tuple[str, int], deque[TopicPartitionOffset]],
) -> Iterator[ReadResult]:
    """Assign the next offset of one partition."""
    requested = waiting[key][0]
    try:
        consumer.incremental_assign([TopicPartition(*requested)])
    except Exception as error:
        if not is_argument_error(error):
            raise
        del waiting[key]
        inner = kafka_error(error) or KafkaError(KafkaError._INVALID_ARG, str(error))
        yield ReadResult(requested, None, inner)


def _matching_result(
    message: Message, waiting: Mapping[tuple[str, int], deque[TopicPartitionOffset]]
) -> ReadResult | None:
    topic, partition, fault = message.topic(), message.partition(), message.error()
    if topic is None or partition is None:
        return None
    queue = waiting.get((topic, partition))
    if queue is None:
        return None
    requested = queue[0]
    if fault is None:
        offset = message.offset()
        return (
            None if offset is None or offset < requested.offset else ReadResult(requested, message)
        )
    if fault.code() == KafkaError._PARTITION_EOF:
        return ReadResult(requested, None)
    return ReadResult(requested, None, fault)
