"""A load with a changing rate, and the true age of the backlog by its producer and consumer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from testbed.background import Background
from testbed.consuming import PacedConsumer

LOW, HIGH = 5.0, 75.0
"""Messages per second."""


class SwingingProducer(Background):
    """Sends messages in a thread during a `with` block, at a rate between LOW and HIGH."""

    def __init__(self, send: Callable[[bytes], None], period_seconds: float) -> None:
        """`send` is called with a message's unique body."""
        super().__init__()
        self._send = send
        self._period = period_seconds
        self.sent: list[tuple[bytes, float]] = []
        """Body and send time of each message, in UNIX seconds."""

    def _run(self) -> None:
        started = time.monotonic()
        due = started
        while not self._stopping.wait(max(due - time.monotonic(), 0.0)):
            body = b"%d" % len(self.sent)
            self.sent.append((body, time.time()))
            self._send(body)
            swing = math.sin(2 * math.pi * (due - started) / self._period)
            due += 1.0 / ((LOW + HIGH) / 2 + (HIGH - LOW) / 2 * swing)


class Truth:
    """The backlog at a past moment, by the clocks of the producer and the consumer."""

    def __init__(self, producer: SwingingProducer, consumer: PacedConsumer[object]) -> None:
        done = {each.body: each.processed_at for each in list(consumer.processed)}
        self._lives = [(sent_at, done.get(body, math.inf)) for body, sent_at in list(producer.sent)]

    def age(self, at: float) -> float:
        """Age in seconds of the oldest unprocessed message; 0 without one."""
        waiting = [sent for sent, processed in self._lives if sent <= at < processed]
        return at - min(waiting) if waiting else 0.0

    def lag(self, at: float) -> int:
        """Number of unprocessed messages."""
        return sum(1 for sent, processed in self._lives if sent <= at < processed)
