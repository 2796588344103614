"""Reads the records of a Kafka topic, for tests."""

from __future__ import annotations

from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

_TIMEOUT_SECONDS = 60.0


def read_timestamps(bootstrap: str, topic: str, partition: int = 0) -> dict[int, int]:
    """Offset to timestamp (ms) of every record that a reader of committed records gets."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"tests-{uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    found: dict[int, int] = {}
    try:
        while True:
            message = consumer.poll(_TIMEOUT_SECONDS)
            if message is None:
                raise TimeoutError(f"{topic}/{partition} was not read to its end")
            fault = message.error()
            if fault is not None:
                if fault.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(fault)
                return found
            offset = message.offset()
            assert offset is not None
            found[offset] = message.timestamp()[1]
    finally:
        consumer.close()
