"""A collector that runs for a long time replaces its clients.

So topics that came and went leave nothing in memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import NewTopic

from exporter.collectors.kafka import client, record_reader
from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import Until
from exporter.name_filter import NameMatcher
from testbed.kafka import KafkaCluster
from testbed.kafka_data import admin_client, commit_offsets, delete_topics
from testbed.waiting import wait_until

BATCHES, TOPICS = 8, 25
MOST_NAMES = 60
"""Names after which the clients are replaced here; 10,000 in production."""
GROUP = "renewal"


class CountedConsumer:
    """A consumer of the exporter, and the topics that it was ever assigned."""

    made: ClassVar[list[CountedConsumer]] = []

    def __init__(self, properties: dict[str, Any]) -> None:
        self._consumer = Consumer(properties)
        self.topics: set[str] = set()
        self.is_closed = False
        self.made.append(self)

    def assign(self, partitions: list[Any]) -> None:
        self.topics |= {partition.topic for partition in partitions}
        self._consumer.assign(partitions)

    def incremental_assign(self, partitions: list[Any]) -> None:
        self.topics |= {partition.topic for partition in partitions}
        self._consumer.incremental_assign(partitions)

    def close(self) -> None:
        self.is_closed = True
        self._consumer.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


@pytest.fixture
def collector(
    local_kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KafkaCollector]:
    """A collector of this test's topics whose consumers are counted."""
    monkeypatch.setattr(CountedConsumer, "made", [])
    monkeypatch.setattr(record_reader, "Consumer", CountedConsumer)
    settings = KafkaSettings(
        "renewal",
        {"bootstrap.servers": local_kafka.bootstrap},
        destinations=NameMatcher(("renewal-.*",)),
        groups=NameMatcher((GROUP,)),
        probe=False,
    )
    made = KafkaCollector(settings)
    yield made
    made.close()


def look(collector: KafkaCollector) -> None:
    """Run both tasks that read records; the second poll finds positions that did not move."""
    for _ in range(2):
        collector.backlog(Until(60))
        collector.latency(Until(60))


def make(bootstrap: str, names: list[str]) -> None:
    """Topics of two records each, with a position between them."""
    admin = admin_client(bootstrap)
    for made in admin.create_topics([NewTopic(n, 1, 1) for n in names]).values():
        made.result(60)
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for name in names:
        for _ in range(2):
            producer.produce(name, b"v", partition=0)
    assert producer.flush(60) == 0
    commit_offsets(bootstrap, GROUP, {(name, 0): 1 for name in names})


def test_many_short_lived_topics_leave_no_consumer_and_no_topic_behind(
    local_kafka: KafkaCluster, collector: KafkaCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_NAMES_SEEN", MOST_NAMES)
    bootstrap = local_kafka.bootstrap
    for batch in range(BATCHES):
        names = [f"renewal-{batch}-{number}" for number in range(TOPICS)]
        make(bootstrap, names)
        look(collector)
        collector.latency(Until(60))
        delete_topics(bootstrap, names)
        look(collector)
    made = CountedConsumer.made
    assert len({topic for each in made for topic in each.topics}) == BATCHES * TOPICS
    # A poll, and the rest of one, may come between the limit and the replacement.
    assert max(len(each.topics) for each in made) <= MOST_NAMES + 2 * TOPICS
    # They are closed in the background.
    wait_until(lambda: sum(not each.is_closed for each in made) <= 4, "old ones to be closed")
    collector.close()
    wait_until(lambda: all(each.is_closed for each in made), "all to be closed")


def test_every_client_is_replaced_once_the_first_is_old(
    local_kafka: KafkaCluster, collector: KafkaCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["renewal-old"]
    make(local_kafka.bootstrap, names)
    look(collector)
    collector.consumers(Until(60))
    collector.discovery(Until(60))
    before = list(CountedConsumer.made)
    clients = [
        collector._client,
        collector._members_client,
        collector._facts_client,
        collector._times_client,
    ]
    admins = [each.admin for each in clients]
    assert before != []
    monkeypatch.setattr(client, "MAX_AGE", 0.0)
    now = time.monotonic()
    # The others are younger, as they are created at their first use.
    monkeypatch.setattr(collector._client, "_made_at", now - 1.0)
    collector.backlog(Until(60))
    monkeypatch.setattr(client, "MAX_AGE", 3600.0)
    wait_until(lambda: all(each.is_closed for each in before), "old ones to be closed")
    assert all(each.admin is not old for each, old in zip(clients, admins, strict=True))
    delete_topics(local_kafka.bootstrap, names)
