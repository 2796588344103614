"""Creates and deletes destinations and groups all the time, each with a known backlog."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from testbed import kafka_data, nsq_data, rabbit_data
from testbed.kafka import KafkaCluster
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster

EVERY = 1.0
"""Seconds between two creations."""
LIVES = 30
"""Number of each kind that exist at a time; then the oldest one is deleted."""
PREFIX = "churn-"


@dataclass(frozen=True)
class Kind:
    """One kind of object: how to create it with some waiting messages, and how to delete it."""

    make: Callable[[str, int], None]
    delete: Callable[[str], None]


def kinds(kafka: KafkaCluster, rabbit: RabbitCluster, nsq: NsqCluster) -> Mapping[str, Kind]:
    """Return the kinds by the source that reads them."""
    servers, amqp, nsqd = kafka.bootstrap, rabbit.amqp_url(node=0), nsq.http_url("nsqd-0")

    def make_topic(name: str, count: int) -> None:
        kafka_data.create_topic(servers, name, 1, 3, {"min.insync.replicas": "1"})
        kafka_data.produce(servers, name, n=count)
        kafka_data.commit_offsets(servers, name, {(name, 0): 0})

    def delete_topic(name: str) -> None:
        with suppress(Exception):
            kafka_data.delete_group(servers, name)
        kafka_data.delete_topic(servers, name)

    def make_queue(name: str, count: int) -> None:
        rabbit_data.declare(amqp, name)
        rabbit_data.publish(amqp, name, count)

    def make_channel(name: str, count: int) -> None:
        nsq_data.create_channel(nsqd, name, name)
        nsq_data.publish_all(nsqd, name, [b"x"] * count)

    return {
        "kafka": Kind(make_topic, delete_topic),
        "rabbit": Kind(make_queue, lambda name: rabbit_data.delete_queue(amqp, name)),
        "nsq": Kind(make_channel, lambda name: nsq_data.delete(nsqd, name)),
    }


class Churn:
    """Creates and deletes objects of every kind until stopped, one thread for each kind."""

    def __init__(self, found: Mapping[str, Kind]) -> None:
        self._kinds = found
        self.made = dict.fromkeys(found, 0)
        self.alive: dict[str, deque[tuple[str, int]]] = {source: deque() for source in found}
        """Name and backlog of those that exist."""
        self.unclear: dict[str, set[str]] = {source: set() for source in found}
        """Those whose creation or deletion failed because a broker was down."""
        self._running = True
        self._threads = [
            threading.Thread(target=self._run, args=(source, kind), daemon=True)
            for source, kind in found.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop. Existing objects stay, except the unclear ones, which are deleted."""
        self._running = False
        for thread in self._threads:
            thread.join()
        for source, names in self.unclear.items():
            for name in sorted(names):
                with suppress(Exception):
                    self._kinds[source].delete(name)

    def faults(self, scrape: Any) -> list[str]:
        """Return wrong lags of existing objects, and deleted objects that are still exposed."""
        found = []
        for source, alive in self.alive.items():
            shown: dict[str, float] = {}
            for labels, value in scrape.find("mq_lag_messages", source=source).items():
                name = dict(labels)["destination"]
                if name.startswith(PREFIX) and name not in self.unclear[source]:
                    shown[name] = shown.get(name, 0.0) + value
            expected = {name: float(count) for name, count in alive}
            found += [
                f"{source}: {name} shows {shown.get(name)}, has {expected.get(name)}"
                for name in sorted(shown.keys() | expected.keys())
                if shown.get(name) != expected.get(name)
            ]
        return found

    def _run(self, source: str, kind: Kind) -> None:
        alive = self.alive[source]
        for number in itertools.count():
            if not self._running:
                return
            name, count = f"{PREFIX}{source}-{number}", 1 + number % 7
            try:
                kind.make(name, count)
            except Exception:  # noqa: BLE001 - brokers are killed on purpose
                self.unclear[source].add(name)
            else:
                alive.append((name, count))
                self.made[source] += 1
            if len(alive) > LIVES:
                oldest, _ = alive.popleft()
                try:
                    kind.delete(oldest)
                except Exception:  # noqa: BLE001 - the same
                    self.unclear[source].add(oldest)
            time.sleep(EVERY)
