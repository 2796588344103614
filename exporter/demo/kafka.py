"""An in-process Kafka cluster (librdkafka's mock) with producers and consumers, for the demo."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Producer

from exporter.model import GroupMembers

QUIET = logging.Logger("embedded", logging.CRITICAL)  # noqa: LOG001 - not shared, so not leaked
BROKERS = 3
MAKE_SECONDS = 5.0
SESSION_MS = 10_000
STEP = 0.1
"""Seconds between two steps of a simulated client."""


@dataclass(frozen=True, slots=True)
class GroupScript:
    """The behaviour of a simulated consumer group with one member."""

    group: str
    topic: str
    rate: float
    """Messages per second that it can process."""
    works: float = 0.0
    rests: float = 0.0
    """It alternates between seconds of work and seconds of rest; no rest if 0. All seconds of a
    script count from the first commit that the exporter can have seen: on a slow machine, joining
    the group takes long.
    """
    stops_after: float | None = None
    """Seconds after which its member leaves for good."""
    story: str = ""


TOPICS: dict[str, float] = {"orders": 120.0, "payments": 40.0, "emails": 60.0, "audit": 15.0}
"""Topic to messages produced per second."""

READERS: tuple[GroupScript, ...] = (
    GroupScript("order-processing", "orders", 400.0, story="keeps up"),
    GroupScript("billing", "orders", 90.0, story="is too slow"),
    GroupScript("settlement", "payments", 200.0, story="keeps up"),
    GroupScript(
        "mailer", "emails", 300.0, stops_after=15.0, story="stops: its consumer leaves after 15 s"
    ),
    GroupScript("archive", "audit", 150.0, works=10.0, rests=20.0, story="reads in bursts"),
)


class EmbeddedKafka:
    """Brokers that listen on loopback as long as this object lives."""

    def __init__(self) -> None:
        self._host = Producer(
            {"bootstrap.servers": "", "test.mock.num.brokers": BROKERS, "logger": QUIET}
        )
        brokers = self._host.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = ",".join(f"{b.host}:{b.port}" for b in brokers)

    def make_topics(self, *names: str) -> None:
        """Create topics by producing to them; the mock brokers offer no other way."""
        for name in names:
            self._host.produce(name, b"")
        self._host.flush(MAKE_SECONDS)


class DemoWorkload:
    """Producers and consumers, each in a thread. The topics should exist.

    A consumer that joins its group before its topic exists may have to wait for the session timeout
    of its first membership.
    """

    def __init__(
        self, bootstrap_servers: str, topics: dict[str, float], readers: tuple[GroupScript, ...]
    ) -> None:
        self._bootstrap = bootstrap_servers
        self._stop = threading.Event()
        self.produced: dict[str, int] = dict.fromkeys(topics, 0)
        """Acknowledged messages by topic."""
        self.consumed: dict[str, int] = {reader.group: 0 for reader in readers}
        """Messages whose offsets were committed, by group."""
        self._members: dict[str, GroupMembers] = {}
        self._seen: set[str] = set()
        """Groups whose member was reported by `members`."""
        self._threads = [
            threading.Thread(target=self._produce, args=item, daemon=True)
            for item in topics.items()
        ]
        self._threads += [
            threading.Thread(target=self._consume, args=(reader,), daemon=True)
            for reader in readers
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Stop all threads; return whether they ended in time."""
        self._stop.set()
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def members(self) -> dict[str, GroupMembers]:
        """Return the members of each group; a group that has not had one yet is missing.

        The embedded brokers do not describe groups, so the exporter gets this instead.
        """
        found = dict(self._members)
        self._seen.update(found)
        return found

    def _produce(self, topic: str, rate: float) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 5, "logger": QUIET})

        def acknowledged(error: object, _: object) -> None:
            if error is None:
                self.produced[topic] += 1

        owed = 0.0
        began = time.monotonic()
        while not self._stop.wait(STEP):
            now = time.monotonic()
            owed += rate * (now - began)
            began = now
            while owed >= 1:
                producer.produce(topic, random.randbytes(100), on_delivery=acknowledged)  # noqa: S311
                owed -= 1
            producer.poll(0)
        producer.purge()

    def _consume(self, reader: GroupScript) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": reader.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "topic.metadata.refresh.interval.ms": 500,
                "session.timeout.ms": SESSION_MS,
                "logger": QUIET,
            }
        )
        consumer.subscribe([reader.topic])
        began: float | None = None
        last = time.monotonic()
        owed = 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if began is None and self.consumed[reader.group] and reader.group in self._seen:
                began = now
            elapsed = 0.0 if began is None else now - began
            if reader.stops_after is not None and elapsed > reader.stops_after:
                break
            resting = reader.rests and elapsed % (reader.works + reader.rests) > reader.works
            owed = 0.0 if resting else min(owed + reader.rate * (now - last), reader.rate)
            last = now
            try:
                self._process(consumer, reader, int(owed))
                self._note_member(consumer, reader.group)
            except KafkaException:
                continue
            owed -= int(owed)
        consumer.close()
        self._members[reader.group] = GroupMembers("empty", frozenset(), {}, {}, 0)

    def _note_member(self, consumer: Consumer, group: str) -> None:
        assigned: dict[str, set[int]] = {}
        for each in consumer.assignment():
            assigned.setdefault(each.topic, set()).add(each.partition)
        if not assigned:
            return  # it is joining
        member = str(consumer.memberid())
        pairs = {topic: frozenset(partitions) for topic, partitions in assigned.items()}
        self._members[group] = GroupMembers(
            state="stable",
            members=frozenset([member]),
            readers=dict.fromkeys(pairs, 1),
            assigned=pairs,
            assignment=hash((member, *sorted(pairs.items()))),
        )

    def _process(self, consumer: Consumer, reader: GroupScript, count: int) -> None:
        """Process up to `count` messages and commit.

        If `count` is 0, only send heartbeats to the group.
        """
        if count == 0:
            consumer.pause(consumer.assignment())
            consumer.poll(STEP)
            consumer.resume(consumer.assignment())
            return
        messages = [m for m in consumer.consume(count, timeout=STEP) if m.error() is None]
        if messages:
            consumer.commit(asynchronous=False)
            self.consumed[reader.group] += len(messages)
        self._stop.wait(STEP / 2)
