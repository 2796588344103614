"""Coordinators that move to another broker while the old one lives: a preferred leader is elected.

librdkafka 2.16 crashes if a broker answers a request for commits by saying that it is not the
coordinator (librdkafka#5040).
"""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import ElectionType, TopicPartition

from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import admin_client, commit_offsets, create_topic, produce
from testbed.waiting import wait_until

OFFSETS = "__consumer_offsets"
GROUPS = [f"g{number}" for number in range(24)]
SCHEDULE = {"backlog": "3s", "consumers": "1s", "discovery": "2s"}


def leaders(bootstrap: str) -> dict[int, int]:
    """Return the broker that coordinates the groups of each partition of the offsets topic."""
    topic = admin_client(bootstrap).list_topics(OFFSETS, timeout=10).topics[OFFSETS]
    return {partition.id: partition.leader for partition in topic.partitions.values()}


def are_right(page: Scrape) -> bool:
    return page.lags() == {(group, "orders", 0): 6 for group in GROUPS}


def test_no_process_ends_when_coordinators_move(own_kafka: KafkaCluster, tmp_path: Path) -> None:
    bootstrap = own_kafka.bootstrap
    create_topic(bootstrap, "orders", 1, 3)
    produce(bootstrap, "orders", 0, 10)
    for group in GROUPS:
        commit_offsets(bootstrap, group, {("orders", 0): 4})
    preferred = leaders(bootstrap)
    with Exporter(tmp_path, [kafka_source(bootstrap, schedule=SCHEDULE)]) as exporter:
        exporter.wait(are_right, "all lags")
        own_kafka.kill(1)
        own_kafka.wait_fenced(1)
        wait_until(lambda: 1 not in leaders(bootstrap).values(), "other coordinators")
        exporter.wait(are_right, "all lags")
        exporter.cycles(3)
        own_kafka.restart(1)
        own_kafka.wait_in_sync()
        before = exporter.scrape().value("mq_collector_restarts_total", source="test")
        moved = [
            partition
            for partition, leader in leaders(bootstrap).items()
            if leader != preferred[partition]
        ]
        assert moved, "something is to be moved back"
        exporter.cycles(1)  # the next one begins seconds later, so none is under way
        admin = admin_client(bootstrap)  # a client that is garbage-collected answers nothing
        admin.elect_leaders(
            ElectionType.PREFERRED, [TopicPartition(OFFSETS, partition) for partition in moved]
        ).result(30)
        wait_until(lambda: leaders(bootstrap) == preferred, "the preferred coordinators")
        exporter.cycles(3)
        page = exporter.wait(are_right, "all lags")
        # A request that was under way when the broker was killed may have crashed the process before.
        assert page.value("mq_collector_restarts_total", source="test") == before, exporter.log()
