"""Reads the ends of the partitions of a topic."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka.admin import OffsetSpec

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.offsets import PartitionKey, listed_offset, offsets_call
from exporter.model import Deadline


class TopicEnd(NamedTuple):
    """The end of a partition."""

    end: int
    stable: int
    """The last stable offset: a consumer of committed records cannot read further."""


def read_topic_ends(
    client: KafkaClient, topic: str, leaders: Mapping[int, int], deadline: Deadline
) -> dict[int, TopicEnd]:
    """Return the ends of a topic by partition. Partitions that cannot be read are missing.

    `leaders` are the brokers that lead the partitions. Each is asked in a separate call, so that
    one that hangs does not delay the others.
    """
    timeout = client.request_seconds(deadline)
    by_leader: dict[int, list[PartitionKey]] = defaultdict(list)
    for partition, leader in leaders.items():
        if leader >= 0:
            by_leader[leader].append((topic, partition))
    answers = [
        [
            client.ask(keys, offsets_call(client, OffsetSpec.latest(), isolation, timeout))
            for isolation in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED)
        ]
        for keys in by_leader.values()
    ]
    ends: dict[int, TopicEnd] = {}
    for futures in answers:
        for ((_, partition), end), (_, stable) in zip(*futures, strict=True):
            with contextlib.suppress(KafkaException):
                ends[partition] = TopicEnd(
                    client.read(end, deadline.remaining(), listed_offset),
                    client.read(stable, deadline.remaining(), listed_offset),
                )
    return ends
