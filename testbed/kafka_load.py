"""Kafka producers and consumers with rates that can be changed while they run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

from testbed.background import Background

TICK = 0.05
PARTITION_UA = -1
"""Let the client choose the partition."""


class Feed(Background):
    """Produces `rate` messages of `size` bytes per second.

    `place` returns the partition of each.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        rate: float,
        *,
        size: int = 100,
        place: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.size = size
        self.sent = 0
        self._topic = topic
        self._place = place
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})

    def send(self, count: int) -> None:
        """Produce this many messages at once."""
        for _ in range(count):
            place = PARTITION_UA if self._place is None else self._place(self.sent)
            while True:
                try:
                    self._producer.produce(self._topic, bytes(self.size), partition=place)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self.sent += 1
        self._producer.poll(0)

    def _run(self) -> None:
        owed, before = 0.0, time.monotonic()
        while not self._stopping.wait(TICK):
            now = time.monotonic()
            owed, before = owed + (now - before) * self.rate, now
            self.send(int(owed))
            owed -= int(owed)
        self._producer.flush(10)


class Reader(Background):
    """A group member that processes `rate` messages or `bytes_rate` bytes per second.

    It commits every `commits` seconds. A rate of None means no limit.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topic: str,
        rate: float | None = None,
        *,
        bytes_rate: float | None = None,
        commits: float = 0.3,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.bytes_rate = bytes_rate
        self.done = 0
        self._topic = topic
        self._settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": int(commits * 1_000),
            "session.timeout.ms": 6_000,
            "queued.max.messages.kbytes": 4_096,
            "log_level": 0,
            **(settings or {}),
        }

    def _run(self) -> None:
        consumer = Consumer(self._settings)
        consumer.subscribe([self._topic])
        owed, before = 0.0, time.monotonic()
        try:
            while not self._stopping.is_set():
                now = time.monotonic()
                passed, before = now - before, now
                rate = self.bytes_rate if self.bytes_rate is not None else self.rate
                if rate is None:
                    owed = 500.0
                elif rate:
                    owed = min(owed + passed * rate, max(rate, 1.0))
                if owed < 1.0 or rate == 0:
                    consumer.poll(0) if rate == 0 else None
                    self._stopping.wait(TICK)
                    continue
                owed = self._take(consumer, owed)
        finally:
            consumer.close()

    def _take(self, consumer: Consumer, owed: float) -> float:
        """Process as many messages as are due; return the rest."""
        most = 1 if self.bytes_rate is not None else int(owed)
        for message in consumer.consume(most, TICK):
            if message.error() is not None:
                continue
            owed -= len(message.value() or b"") if self.bytes_rate is not None else 1
            try:
                consumer.store_offsets(message=message)
            except KafkaException:
                return owed  # the partition was taken away meanwhile
            self.done += 1
        return owed
