"""Producers and consumers of one destination that keep running while brokers are killed."""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pika
import requests
from confluent_kafka import Consumer, Producer, TopicPartition

from testbed import nsq_data, rabbit_data
from testbed.consuming import Delivery
from testbed.kafka import KafkaCluster
from testbed.kafka_data import create_topic
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster

SWING = (5.0, 75.0)
PERIOD = 67.0
RATE = 42.0
"""Messages a second that a consumer processes: slightly more than the mean produce rate."""


class Client(ABC):
    """A producer and a consumer of one destination, each in a thread, that log what they did."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[float] = []
        """Unix time at which each message was acknowledged to the producer, in sending order."""
        self.done: list[float] = []
        """Unix time at which each message was processed."""
        self._known: set[bytes] = set()
        self.producing = True
        self.running = True
        self.troubles = 0
        self._threads = [
            threading.Thread(target=t, daemon=True) for t in (self._produce, self._consume)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.running = False
        for thread in self._threads:
            thread.join(30)

    def lag(self, at: float) -> int:
        """Return how many messages waited at a time."""
        return bisect.bisect_right(self.sent, at) - bisect.bisect_right(self.done, at)

    def age(self, at: float) -> float:
        """Return for how long the oldest message had waited. Messages are processed in order."""
        done = bisect.bisect_right(self.done, at)
        if done >= len(self.sent) or self.sent[done] > at:
            return 0.0
        return at - self.sent[done]

    def _produce(self) -> None:
        began = due = time.monotonic()
        send: Callable[[bytes], None] | None = None
        low, high = SWING
        number = itertools.count()
        while self.running and self.producing:
            try:
                if send is None:
                    send = self.sender()
                send(b"%d %.6f" % (next(number), time.time()))
                self.sent.append(time.time())
            except Exception:  # noqa: BLE001 - brokers are killed on purpose
                self.troubles += 1
                send = None
                time.sleep(0.5)
            share = ((time.monotonic() - began) % PERIOD) / PERIOD
            due = max(due, time.monotonic() - 5) + 1.0 / (
                low + (high - low) * (1 - abs(2 * share - 1))
            )
            time.sleep(max(due - time.monotonic(), 0))

    def _consume(self) -> None:
        while self.running:
            with suppress(Exception):
                due = time.monotonic()
                for body in self.messages():
                    due = max(due + 1.0 / RATE, time.monotonic() - 2)
                    time.sleep(max(due - time.monotonic(), 0))
                    self._note(body)
            time.sleep(0.2)

    def _note(self, body: bytes) -> None:
        """Log that a message was processed, once."""
        if body not in self._known:
            self._known.add(body)
            self.done.append(time.time())

    @abstractmethod
    def sender(self) -> Callable[[bytes], None]: ...

    @abstractmethod
    def messages(self) -> Iterator[bytes]:
        """Yield messages. Each is acknowledged when the next one is requested."""


class KafkaClient(Client):
    """A topic with one partition, and its group."""

    def __init__(self, cluster: KafkaCluster, topic: str) -> None:
        super().__init__(topic)
        self._servers = cluster.bootstrap
        create_topic(self._servers, topic, 1, 3, {"min.insync.replicas": "1"})

    def sender(self) -> Callable[[bytes], None]:
        producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "linger.ms": 0,
                "log_level": 0,
                "message.timeout.ms": 30_000,
            }
        )

        def send(body: bytes) -> None:
            failed: list[Any] = []
            producer.produce(self.name, body, on_delivery=lambda error, _: failed.append(error))
            while not failed:
                producer.poll(0.05)
            if failed[0] is not None:
                raise RuntimeError(str(failed[0]))

        return send

    def messages(self) -> Iterator[bytes]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": self.name,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        consumer.subscribe([self.name])
        try:
            while self.running:
                message = consumer.poll(0.2)
                if message is None or message.error():
                    continue
                yield message.value() or b""
                place = TopicPartition(
                    self.name, message.partition() or 0, (message.offset() or 0) + 1
                )
                consumer.commit(offsets=[place], asynchronous=False)
        finally:
            consumer.close()


class RabbitClient(Client):
    """A durable classic queue on one node."""

    def __init__(self, cluster: RabbitCluster, queue: str, node: int) -> None:
        super().__init__(queue)
        self._url = cluster.amqp_url(node=node)
        rabbit_data.declare(self._url, queue)

    def sender(self) -> Callable[[bytes], None]:
        channel = pika.BlockingConnection(rabbit_data.parameters(self._url)).channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(delivery_mode=2)
        return lambda body: channel.basic_publish("", self.name, body, properties, mandatory=True)

    def messages(self) -> Iterator[bytes]:
        connection = pika.BlockingConnection(rabbit_data.parameters(self._url))
        channel = connection.channel()
        channel.basic_qos(prefetch_count=20)
        for method, _, body in channel.consume(self.name, inactivity_timeout=0.2):
            if method is not None and body is not None and method.delivery_tag is not None:
                yield body
                channel.basic_ack(method.delivery_tag)
            if not self.running:
                break
        connection.close()


class NsqClient(Client):
    """A topic and its channel on one nsqd."""

    def __init__(self, cluster: NsqCluster, topic: str, nsqd: str) -> None:
        super().__init__(topic)
        self._url, self._address = cluster.http_url(nsqd), cluster.tcp_address(nsqd)
        nsq_data.create_channel(self._url, topic, topic)

    def sender(self) -> Callable[[bytes], None]:
        session = requests.Session()

        def send(body: bytes) -> None:
            session.post(
                f"{self._url}/pub", params={"topic": self.name}, data=body, timeout=5
            ).raise_for_status()

        return send

    def _consume(self) -> None:
        def outcome(delivery: Delivery) -> Any:
            self._note(delivery.body)
            return "finish"

        while self.running:
            with (
                suppress(Exception),
                nsq_data.NsqConsumer(
                    self._address, self.name, self.name, RATE, max_in_flight=20, outcome=outcome
                ) as consumer,
            ):
                while self.running and consumer._thread.is_alive():
                    time.sleep(0.2)
            time.sleep(0.2)

    def messages(self) -> Iterator[bytes]:
        raise NotImplementedError
