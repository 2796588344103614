"""A load that swings, and what its producer and consumer know of the age of the backlog."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from testbed.background import Background
from testbed.consuming import PacedConsumer

LOW, HIGH = 5.0, 75.0
"""Messages a second."""


class SwingingProducer(Background):
    """Sends messages in a thread, at a rate that swings between LOW and HIGH, as long as a `with` block runs."""

    def __init__(self, send: Callable[[bytes], None], period_seconds: float) -> None:
        """`send` gets one message's body, which no other message has."""
        super().__init__()
        self._send = send
        self._period = period_seconds
        self.sent: list[tuple[bytes, float]] = []
        """Bodies and when they were handed over, in UNIX seconds."""

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
    """What was waiting at a moment of the past, by the clocks of the producer and the consumer themselves."""

    def __init__(self, producer: SwingingProducer, consumer: PacedConsumer[object]) -> None:
        done = {each.body: each.processed_at for each in list(consumer.processed)}
        self._lives = [(sent_at, done.get(body, math.inf)) for body, sent_at in list(producer.sent)]

    def age(self, at: float) -> float:
        """Seconds for which the oldest message not yet processed had been waiting; 0 with none."""
        waiting = [sent for sent, processed in self._lives if sent <= at < processed]
        return at - min(waiting) if waiting else 0.0

    def lag(self, at: float) -> int:
        """How many messages were waiting."""
        return sum(1 for sent, processed in self._lives if sent <= at < processed)
