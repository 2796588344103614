"""Producers and consumers of one destination. They record what they did."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import pika
import rstream
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from testbed import rabbit_data
from testbed.consuming import Delivery, Outcome, PacedConsumer

JOIN_SECONDS = 30.0


def kafka_sender(bootstrap: str, topic: str) -> Callable[[bytes], None]:
    """Return a function that sends one record and waits until the broker has it."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 0})

    def send(body: bytes) -> None:
        ends: list[Any] = []
        producer.produce(topic, body, on_delivery=lambda error, _: ends.append(error))
        while not ends:
            producer.poll(0.05)
        if ends[0] is not None:
            raise KafkaException(ends[0])

    return send


class RabbitSender:
    """Sends a message by AMQP and waits for the broker's confirm."""

    def __init__(self, url: str, destination: str) -> None:
        self._destination = destination
        self._connection = pika.BlockingConnection(rabbit_data.parameters(url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def __call__(self, body: bytes) -> None:
        headers = {rabbit_data.ENQUEUED_AT: time.time_ns()}
        properties = pika.BasicProperties(headers=headers, delivery_mode=2)
        self._channel.basic_publish("", self._destination, body, properties, mandatory=True)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class KafkaMember(PacedConsumer[TopicPartition]):
    """A member of a group that commits each record after processing it."""

    def __init__(self, settings: Mapping[str, Any], topic: str, rate: float | None) -> None:
        super().__init__(rate)
        self._settings, self._topic = dict(settings), topic

    def _open(self) -> None:
        self._consumer = Consumer(self._settings)
        self._consumer.subscribe([self._topic], on_revoke=self._drop, on_lost=self._drop)

    def _drop(self, _: Consumer, gone: list[TopicPartition]) -> None:
        """Forget prefetched records of these partitions: they will be delivered again."""
        numbers = {place.partition for place in gone}
        self._held = deque(each for each in self._held if each[0].partition not in numbers)

    def _receive(self, seconds: float) -> None:
        message = self._consumer.poll(seconds)
        if message is None or message.error() is not None:
            return
        place = TopicPartition(self._topic, message.partition() or 0, (message.offset() or 0) + 1)
        sent_at = message.timestamp()[1] / 1_000
        self._hold(place, Delivery(message.value() or b"", sent_at, time.time(), 1))

    def _settle(self, handle: TopicPartition, outcome: Outcome) -> None:
        del outcome
        self._consumer.commit(offsets=[handle], asynchronous=False)

    def _close(self) -> None:
        self._consumer.close()


class StreamReader(PacedConsumer[int]):
    """Reads a stream by the stream protocol, with one chunk sent ahead of the present message."""

    def __init__(self, login: Mapping[str, Any], stream: str, name: str, rate: float) -> None:
        super().__init__(rate)
        self._login, self._stream, self._name = dict(login), stream, name
        self._inbox: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()

    def _open(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread_of_loop = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread_of_loop.start()
        asyncio.run_coroutine_threadsafe(self._subscribe(), self._loop).result(JOIN_SECONDS)

    async def _subscribe(self) -> None:
        self._room = asyncio.Semaphore(1)
        self._consumer = rstream.Consumer(**self._login)
        await self._consumer.start()
        await self._consumer.subscribe(
            self._stream,
            self._take,
            decoder=rstream.amqp_decoder,
            offset_specification=rstream.ConsumerOffsetSpecification(
                rstream.OffsetType.FIRST, None
            ),
            initial_credit=1,
            properties={"name": self._name},
            subscriber_name=self._name,
        )

    async def _take(self, message: Any, context: Any) -> None:
        await self._room.acquire()
        self._inbox.put((context.offset, bytes(message.body)))

    def _receive(self, seconds: float) -> None:
        try:
            offset, body = self._inbox.get(timeout=max(seconds, 0.001))
        except queue.Empty:
            return
        self._hold(offset, Delivery(body, 0.0, time.time(), 1))

    def _settle(self, handle: int, outcome: Outcome) -> None:
        del handle, outcome
        self._loop.call_soon_threadsafe(self._room.release)

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._room.release)
        closing = asyncio.run_coroutine_threadsafe(self._consumer.close(), self._loop)
        closing.result(JOIN_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread_of_loop.join(JOIN_SECONDS)
        self._loop.close()
