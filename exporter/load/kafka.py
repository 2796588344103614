"""A workload on a Kafka topic."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from exporter.load.clients import Delivery, LoadError, Receiver, Sender

QUIET = logging.Logger("load", logging.CRITICAL)  # noqa: LOG001 - not shared, so not leaked
PATIENCE = 10.0
NO_BROKER = "no broker answers; check the address, such as localhost:9092"
PARTITIONS = 4
"""Least number of partitions."""


def kafka_workload(
    address: str, destination: str, group: str, retention: float | None
) -> KafkaWorkload:
    """Return the workload (`systems.System.workload`); nothing is connected yet."""
    return KafkaWorkload(address, destination, group, retention)


class KafkaWorkload:
    """A topic and a group."""

    broken = (KafkaException, OSError)

    def __init__(
        self, address: str, topic: str, group: str, retention: float | None = None
    ) -> None:
        """Messages are kept for `retention` seconds.

        By default as long as the broker's own setting says.
        """
        self.settings: dict[str, Any] = {"bootstrap.servers": address, "logger": QUIET}
        """Settings of the clients."""
        self._topic = topic
        self._group = group
        self._config = {} if retention is None else {"retention.ms": str(round(retention * 1_000))}

    def prepare(self, consumers: int) -> None:
        """Create the topic, unless it exists."""
        admin = AdminClient(self.settings)
        topic = NewTopic(self._topic, max(consumers, PARTITIONS), 1, config=self._config)
        try:
            made = admin.create_topics([topic], request_timeout=PATIENCE)[self._topic]
            made.result(2 * PATIENCE)
        except KafkaException as error:
            found = error.args[0]
            if found.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
                raise LoadError(NO_BROKER) from None
            if found.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise LoadError(
                    f"the topic {self._topic!r} cannot be created: {found.str()}"
                ) from None
        except TimeoutError:
            raise LoadError(NO_BROKER) from None

    def sender(self) -> Sender:
        """Connect a producer."""
        return _KafkaSender(self.settings, self._topic)

    def receiver(self) -> Receiver:
        """Join the group."""
        return _KafkaReceiver(self.settings, self._topic, self._group)


class _KafkaSender:
    def __init__(self, settings: dict[str, Any], topic: str) -> None:
        self._producer = Producer({**settings, "linger.ms": 5, "message.timeout.ms": 10_000})
        self._topic = topic
        self._refused = 0

    def send(self, bodies: Sequence[bytes]) -> int:
        for body in bodies:
            while True:
                try:
                    self._producer.produce(self._topic, body, on_delivery=self._delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.poll(0)
        return self._pop_refused()

    def close(self) -> int:
        left = self._producer.flush(PATIENCE)
        return self._pop_refused() + left

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._refused += error is not None

    def _pop_refused(self) -> int:
        refused, self._refused = self._refused, 0
        return refused


class _KafkaReceiver:
    def __init__(self, settings: dict[str, Any], topic: str, group: str) -> None:
        self._consumer = Consumer(
            {
                **settings,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.offset.store": False,
                "auto.commit.interval.ms": 500,
                "topic.metadata.refresh.interval.ms": 2_000,
            }
        )
        self._consumer.subscribe([topic])

    def receive(self, seconds: float) -> Delivery | None:
        message = self._consumer.poll(seconds)
        if message is None or message.error() is not None:
            return None
        return Delivery(message.value() or b"", message)

    def finish(self, delivery: Delivery) -> None:
        self._consumer.store_offsets(message=delivery.handle)

    def reject(self, delivery: Delivery) -> None:
        message = delivery.handle
        self._consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))

    def close(self) -> None:
        self._consumer.close()
