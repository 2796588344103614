"""The producer and consumer for all probes of one cluster, and the probes in flight."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from exporter.collectors.kafka.disposal import Client, dispose
from exporter.collectors.kafka.errors import GONE, kafka_error, reason_of
from exporter.collectors.kafka.record_reader import READER

POLL = 0.5
"""Seconds between checks of the producer's thread for its end."""
GREETING_PATIENCE = 1.0
"""Seconds to wait for the commit of a greeting."""
MISSING = GONE | {KafkaError.UNKNOWN_TOPIC_ID}
PRODUCER: Mapping[str, Any] = {"acks": "all", "enable.idempotence": False, "linger.ms": 0}
CONSUMER: Mapping[str, Any] = {
    **READER,
    "enable.partition.eof": False,
    # The broker answers at once if there is a message, or else waits: few requests, and no delay.
    "fetch.wait.max.ms": 500,
    "max.partition.fetch.bytes": 65_536,
    # Messages between two rounds must not stop fetching.
    "queued.min.messages": 10_000,
    "max.poll.interval.ms": 86_400_000,
    "isolation.level": "read_uncommitted",
}


class ProbeInFlight:
    """One message in flight. Times are seconds since it was sent, None until known."""

    __slots__ = (
        "ack",
        "awaits_ack",
        "began",
        "error",
        "greets",
        "limit",
        "offset",
        "publish",
        "receive",
        "sequence",
    )

    def __init__(self, sequence: int, limit: float, *, greets: bool) -> None:
        """After `limit` seconds no result counts; a message that `greets` opens the connections."""
        self.sequence = sequence
        self.limit = limit
        self.greets = greets
        self.began = time.perf_counter()
        self.publish: float | None = None
        self.receive: float | None = None
        self.ack: float | None = None
        self.awaits_ack = False
        self.error: KafkaError | None = None
        """Why publishing failed."""
        self.offset: int | None = None

    def elapsed(self) -> float | None:
        """Return the seconds since the message was sent; None after the limit."""
        seconds = time.perf_counter() - self.began
        return seconds if seconds <= self.limit else None

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Store the broker's acknowledgement or error."""
        seconds = self.elapsed()
        if error is not None:
            self.error = error
        else:
            self.offset = message.offset()
            self.publish = seconds

    def received(self) -> bool:
        """Store the receipt; return whether it is the first one and in time."""
        if self.receive is None:
            self.receive = self.elapsed()
            return self.receive is not None
        return False

    def acked(self, good: bool) -> None:
        """Store the result of the commit."""
        if good:
            self.ack = self.elapsed()
        self.awaits_ack = False

    def has_greeted(self) -> bool:
        """Return whether the connections are open.

        That is when the message was received, and its commit was answered or takes too long.
        """
        if not self.greets or self.receive is None or self.publish is None:
            return False
        waited = time.perf_counter() - self.began - self.receive
        return not self.awaits_ack or waited > GREETING_PATIENCE

    def is_over(self) -> bool:
        """Return whether no further result can arrive in time."""
        if self.error is not None or self.elapsed() is None:
            return True
        return self.publish is not None and self.receive is not None and not self.awaits_ack


class Arrival(NamedTuple):
    """A received message of this process."""

    sequence: int
    partition: int
    offset: int


class Faults:
    """Errors reported by the clients."""

    def __init__(self, report: Callable[[KafkaError], None]) -> None:
        self._report = report
        self.is_broken = False
        """Whether the clients must be replaced."""
        self.denied: KafkaError | None = None
        """The missing right on the topic."""

    def add_connection_error(self, error: KafkaError) -> None:
        """Store an error of a connection.

        After an authentication error, new clients read the secrets.
        """
        self._report(error)
        self.is_broken |= error.fatal() or reason_of(error) == "unauthorized"

    def add_topic_error(self, error: KafkaError) -> None:
        """Store an error of the topic; clients cache for long that a topic does not exist."""
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self.denied = error
        elif error.code() in MISSING or error.fatal():
            self.is_broken = True


class Channel:
    """The two clients of one topic. Used by one thread; another one polls for acknowledgements.

    The constructor raises `KafkaException` if librdkafka rejects the properties.
    """

    def __init__(self, properties: Mapping[str, Any], topic: str, deadline: float) -> None:
        """`deadline` is the time in seconds after which a message is no longer sent."""
        self._topic = topic
        self.faults = Faults(properties["error_cb"])
        given = {**properties, "error_cb": self.faults.add_connection_error}
        producer = {**PRODUCER, "message.timeout.ms": max(int(deadline * 1000), 1)}
        self._producer = Producer({**given, **producer})
        self._consumer = Consumer({**given, **CONSUMER})
        self.mark = secrets.token_bytes(8)
        """The key of its messages, different from those of all other channels."""
        self._receiving: set[int] = set()
        self._ended = threading.Event()
        threading.Thread(
            target=_poll_producer,
            args=(self._producer, self._ended),
            name="probe/acknowledgements",
            daemon=True,
        ).start()

    def send(self, probe: ProbeInFlight, partition: int) -> None:
        """Send a message with the probe's number as value and this channel's mark as key."""
        faults = self.faults

        def delivered(error: KafkaError | None, message: Message) -> None:
            probe.delivered(error, message)
            if error is not None:
                faults.add_topic_error(error)

        try:
            self._producer.produce(
                self._topic,
                value=str(probe.sequence).encode(),
                key=self.mark,
                partition=partition,
                on_delivery=delivered,
            )
        except (KafkaException, BufferError) as error:
            probe.error = kafka_error(error) or KafkaError(KafkaError._QUEUE_FULL)
            faults.add_topic_error(probe.error)

    def is_receiving(self, partition: int) -> bool:
        """Return whether messages of the partition are received."""
        return partition in self._receiving

    def start_receiving(self, partition: int, offset: int) -> None:
        """Receive the partition's messages from this offset."""
        self._consumer.incremental_assign([TopicPartition(self._topic, partition, offset)])
        self._receiving.add(partition)

    def stop_receiving(self, partition: int) -> None:
        """Stop receiving messages of the partition."""
        if partition in self._receiving:
            self._receiving.discard(partition)
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def receive(self, timeout: float) -> Arrival | None:
        """Return the next message of this channel; None on timeout or for another message."""
        message = self._consumer.poll(timeout)
        return None if message is None else self.arrival(message)

    def drain(self) -> None:
        """Drop messages received since the last round: late ones, and those of others."""
        while (message := self._consumer.poll(0)) is not None:
            self.arrival(message)

    def close(self) -> None:
        """Close both clients without waiting for a broker."""
        self._ended.set()
        self._producer.purge()
        clients: list[Client | None] = [self._producer, self._consumer]
        del self._producer, self._consumer
        dispose(clients)

    def arrival(self, message: Message) -> Arrival | None:
        """Return the message if it is this channel's; None for other messages and errors."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is not None:
            self.faults.add_topic_error(error)
            if partition is not None and message.topic() == self._topic:
                self.stop_receiving(partition)
            return None
        value = message.value()
        if message.key() != self.mark or value is None or partition is None or offset is None:
            return None
        return Arrival(int(value), partition, offset)


def _poll_producer(producer: Producer, ended: threading.Event) -> None:
    """Poll for acknowledgements, so that they are timed without delay."""
    while not ended.is_set():
        producer.poll(POLL)
