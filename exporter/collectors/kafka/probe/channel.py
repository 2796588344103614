"""A producer and a consumer for all probes of one cluster, and the messages on their way between them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from exporter.collectors.kafka.errors import GONE, kafka_error, reason_of
from exporter.collectors.kafka.record_reader import READER

POLL = 0.5
"""Seconds after which the producer's thread looks whether it is to end."""
GREETING_PATIENCE = 1.0
"""Seconds for which a greeting's commit is waited for."""
MISSING = GONE | {KafkaError.UNKNOWN_TOPIC_ID}
PRODUCER: Mapping[str, Any] = {"acks": "all", "enable.idempotence": False, "linger.ms": 0}
CONSUMER: Mapping[str, Any] = {
    **READER,
    "enable.partition.eof": False,
    # The broker answers at once where there is something, and else waits: few requests, and no delay.
    "fetch.wait.max.ms": 500,
    "max.partition.fetch.bytes": 65_536,
    # What comes between two rounds must not stop the fetching.
    "queued.min.messages": 10_000,
    "max.poll.interval.ms": 86_400_000,
    "isolation.level": "read_uncommitted",
}


class Flight:
    """One message on its way, timed from its sending on. Times are in seconds, None until they are known."""

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
        """`limit` is the time after which nothing counts; a message that `greets` opens the connections."""
        self.sequence = sequence
        self.limit = limit
        self.greets = greets
        self.began = time.perf_counter()
        self.publish: float | None = None
        self.receive: float | None = None
        self.ack: float | None = None
        self.awaits_ack = False
        self.error: KafkaError | None = None
        """Why it could not be published."""
        self.offset: int | None = None

    def elapsed(self) -> float | None:
        """Return the time since the sending, None where it is too long."""
        seconds = time.perf_counter() - self.began
        return seconds if seconds <= self.limit else None

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Take the broker's acknowledgement, or why there is none."""
        seconds = self.elapsed()
        if error is not None:
            self.error = error
        else:
            self.offset = message.offset()
            self.publish = seconds

    def received(self) -> bool:
        """Take the receipt; tell whether it was the first and in time."""
        if self.receive is None:
            self.receive = self.elapsed()
            return self.receive is not None
        return False

    def acked(self, good: bool) -> None:
        """Take the answer to the commit."""
        if good:
            self.ack = self.elapsed()
        self.awaits_ack = False

    def has_greeted(self) -> bool:
        """Whether the connections are open: it came back, and its commit was answered or takes too long."""
        if not self.greets or self.receive is None or self.publish is None:
            return False
        waited = time.perf_counter() - self.began - self.receive
        return not self.awaits_ack or waited > GREETING_PATIENCE

    def is_over(self) -> bool:
        """Whether nothing more is to come, or nothing in time."""
        if self.error is not None or self.elapsed() is None:
            return True
        return self.publish is not None and self.receive is not None and not self.awaits_ack


class Arrival(NamedTuple):
    """A message of this process that came back."""

    sequence: int
    partition: int
    offset: int


class Faults:
    """What the clients complained of."""

    def __init__(self, complain: Callable[[KafkaError], None]) -> None:
        self._complain = complain
        self.is_broken = False
        """Whether the clients must be replaced."""
        self.denied: KafkaError | None = None
        """A right on the topic that is missing."""

    def of_connection(self, error: KafkaError) -> None:
        """Take what is said of a connection; where it is the password, new clients read it anew."""
        self._complain(error)
        self.is_broken |= error.fatal() or reason_of(error) == "unauthorized"

    def of_topic(self, error: KafkaError) -> None:
        """Take what is said of the topic; clients remember for long that there is none."""
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self.denied = error
        elif error.code() in MISSING or error.fatal():
            self.is_broken = True


class Channel:
    """The two clients of one topic. Used by one thread; another one serves the acknowledgements.

    The constructor raises `KafkaException` where librdkafka refuses the properties.
    """

    def __init__(self, properties: Mapping[str, Any], topic: str, deadline: float) -> None:
        """`deadline` is the time in seconds after which a message is not sent any more."""
        self._topic = topic
        self.faults = Faults(properties["error_cb"])
        given = {**properties, "error_cb": self.faults.of_connection}
        producer = {**PRODUCER, "message.timeout.ms": max(int(deadline * 1000), 1)}
        self._producer = Producer({**given, **producer})
        self._consumer = Consumer({**given, **CONSUMER})
        self.mark = secrets.token_bytes(8)
        """The key of its messages, which no other channel's have."""
        self._heard: set[int] = set()
        self._ended = threading.Event()
        threading.Thread(
            target=_serve,
            args=(self._producer, self._ended),
            name="probe/acknowledgements",
            daemon=True,
        ).start()

    def send(self, flight: Flight, partition: int) -> None:
        """Send a message that carries the flight's number, and this channel's mark."""
        faults = self.faults

        def delivered(error: KafkaError | None, message: Message) -> None:
            flight.delivered(error, message)
            if error is not None:
                faults.of_topic(error)

        try:
            self._producer.produce(
                self._topic,
                value=str(flight.sequence).encode(),
                key=self.mark,
                partition=partition,
                on_delivery=delivered,
            )
        except (KafkaException, BufferError) as error:
            flight.error = kafka_error(error) or KafkaError(KafkaError._QUEUE_FULL)
            faults.of_topic(flight.error)

    def hears(self, partition: int) -> bool:
        """Whether what is sent to the partition is received."""
        return partition in self._heard

    def hear(self, partition: int, offset: int) -> None:
        """Receive what the partition holds from the offset on."""
        self._consumer.incremental_assign([TopicPartition(self._topic, partition, offset)])
        self._heard.add(partition)

    def leave(self, partition: int) -> None:
        """Receive no more of the partition."""
        if partition in self._heard:
            self._heard.discard(partition)
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def receive(self, timeout: float) -> Arrival | None:
        """Return the next message of this channel; None where there is none in time, or another one came."""
        message = self._consumer.poll(timeout)
        return None if message is None else self.arrival(message)

    def drain(self) -> None:
        """Drop what came since the last round: messages of others, and late ones."""
        while (message := self._consumer.poll(0)) is not None:
            self.arrival(message)

    def close(self) -> None:
        """End both clients without waiting for a broker."""
        self._ended.set()
        self._producer.purge()
        self._consumer.close()

    def arrival(self, message: Message) -> Arrival | None:
        """Return what it is of this channel's messages; None where it is another's, or an error."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is not None:
            self.faults.of_topic(error)
            if partition is not None and message.topic() == self._topic:
                self.leave(partition)
            return None
        value = message.value()
        if message.key() != self.mark or value is None or partition is None or offset is None:
            return None
        return Arrival(int(value), partition, offset)


def _serve(producer: Producer, ended: threading.Event) -> None:
    """Take acknowledgements the moment they come."""
    while not ended.is_set():
        producer.poll(POLL)
