"""Findings of `check` about features that are tested on one partition."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from typing import Any

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import ClusterMetadata, ConfigResource, OffsetSpec

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.disposal import dispose
from exporter.collectors.kafka.errors import describe_right, kafka_error
from exporter.collectors.kafka.findings import NOTHING
from exporter.collectors.kafka.offsets import Ends, listed_offset
from exporter.collectors.kafka.record_reader import READER
from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import CollectError, Deadline, Finding

TRY_SHARE = 0.4
"""Fraction of the remaining time that each test may take; a broker that hangs uses all of it."""


_Attempt = Callable[[TopicPartition, Deadline], str]
"""Tests a feature on the partition, and returns what works."""


class Trials:
    """Tests features on one partition that answers."""

    def __init__(self, client: KafkaClient, ends: Ends, deadline: Deadline) -> None:
        self._client = client
        self._deadline = deadline
        self._partition = next(
            (
                TopicPartition(topic, partition)
                for topic, log in ends.logs.items()
                for partition, end in enumerate(log.end)
                if end is not None
            ),
            None,
        )

    def tried(self, feature: str, attempt: _Attempt, right: str) -> Finding:
        """Run `attempt`, which returns the detail; `right` is what to grant if it is denied."""
        if self._partition is None:
            return Finding(feature, ok=True, detail=NOTHING)
        ok, detail = self._outcome(attempt, self._partition, right)
        return Finding(feature, ok=ok, detail=detail)

    def _outcome(
        self, attempt: _Attempt, partition: TopicPartition, right: str
    ) -> tuple[bool, str]:
        """Return whether the attempt succeeded, and what it or its error said."""
        try:
            return True, attempt(partition, Share(self._deadline, TRY_SHARE))
        except CollectError as error:
            return False, str(error)
        except KafkaException as error:
            inner = kafka_error(error)
            return False, describe_right(inner, right) if inner is not None else str(error)

    def offsets_topic(
        self, metadata: ClusterMetadata, silent: Container[int], mode: str
    ) -> Finding:
        """Read the end of a partition of `__consumer_offsets` whose leader answers."""
        feature, required = "offsets topic", mode == "stream"
        if mode == "admin":
            detail = "committed offsets are read from the coordinators (offsets: admin)"
            return Finding(feature, ok=True, detail=detail)
        topic = metadata.topics.get(OFFSETS_TOPIC)
        rows = () if topic is None else topic.partitions.values()
        led = [row.id for row in rows if row.leader >= 0 and row.leader not in silent]
        if topic is not None and not led:
            return Finding(feature, ok=not required, detail=NOTHING, required=required)
        can_read = False
        fault = "the user cannot see it, or there is none yet; give the user Describe on it"
        if led:
            partition = TopicPartition(OFFSETS_TOPIC, led[0])
            can_read, fault = self._outcome(
                self.read, partition, f"give the user Read on {OFFSETS_TOPIC}"
            )
        if can_read:
            when = "" if required else " where that is cheaper"
            detail = f"committed offsets are read from {OFFSETS_TOPIC}{when} (offsets: {mode})"
            return Finding(feature, ok=True, detail=detail)
        if required:
            return Finding(feature, ok=False, detail=fault, required=True)
        detail = f"{OFFSETS_TOPIC}: {fault}; so committed offsets are read from the coordinators"
        return Finding(feature, ok=True, detail=detail)

    def lookup(self, partition: TopicPartition, deadline: Deadline) -> str:
        """Look up an offset by timestamp."""
        timeout = self._client.request_seconds(deadline)
        ((_, future),) = self._client.ask(
            [partition],
            lambda partitions: self._client.admin.list_offsets(
                dict.fromkeys(partitions, OffsetSpec.for_timestamp(0)), request_timeout=timeout
            ),
        )
        self._client.read(future, timeout, listed_offset)
        return "offsets can be looked up by timestamp"

    def ids(self, partition: TopicPartition, deadline: Deadline) -> str:
        """Read the id of the topic."""
        timeout = self._client.request_seconds(deadline)
        ((_, future),) = self._client.ask(
            [partition.topic],
            lambda names: self._client.admin.describe_topics(
                TopicCollection(names), request_timeout=timeout
            ),
        )
        self._client.wait(future, timeout)
        return "recreated topics are detected by their topic ids"

    def policy(self, partition: TopicPartition, deadline: Deadline) -> str:
        """Read the configuration of the topic."""
        timeout = self._client.request_seconds(deadline)
        ((_, future),) = self._client.ask(
            [partition.topic],
            lambda names: self._client.admin.describe_configs(
                [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names],
                request_timeout=timeout,
            ),
        )
        self._client.wait(future, timeout)
        return "cleanup policies can be read"

    def read(self, partition: TopicPartition, deadline: Deadline) -> str:
        """Read a record, or the end of the partition."""
        consumer = Consumer({**self._client.properties(), **READER})
        try:
            consumer.assign([TopicPartition(partition.topic, partition.partition, OFFSET_END)])
            until = time.monotonic() + self._client.request_seconds(deadline)
            while time.monotonic() < until:
                message = consumer.poll(0.1)
                if message is None or message.topic() is None:
                    continue
                error = message.error()
                if error is not None and not _is_end(error):
                    raise KafkaException(error)
                return (
                    "records can be read: ages are exact or have an error bound, "
                    "and transaction markers are not counted as lag"
                )
        finally:
            dispose([consumer])
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _is_end(error: Any) -> bool:
    return bool(error.code() == error._PARTITION_EOF)
