"""A group that is stuck in one rebalance, on a real broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from testbed.exporter import Exporter, kafka_source
from testbed.kafka import Kafka
from testbed.kafka_data import create_topic, produce
from testbed.kafka_load import Feed, Reader
from testbed.waiting import wait_until

NAME = "stuck-rebalance"
SETTINGS: dict[str, Any] = {
    "group.id": NAME,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "range",
    "session.timeout.ms": 30_000,
    # Longer than the test: this is how long the group waits for a member that stopped polling.
    "max.poll.interval.ms": 600_000,
    "log_level": 0,
}


def test_a_group_that_waits_for_a_member_is_rebalancing(kafka: Kafka, tmp_path: Path) -> None:
    """The member sends heartbeats, so it counts as alive.

    It does not poll, so it never rejoins.
    """
    create_topic(kafka.bootstrap, NAME, partitions=2)
    produce(kafka.bootstrap, NAME, n=10)
    stuck = Consumer({"bootstrap.servers": kafka.bootstrap, **SETTINGS})
    stuck.subscribe([NAME])
    wait_until(lambda: stuck.poll(0.5) is not None, "a first message")
    stuck.commit(asynchronous=False)
    source = kafka_source(kafka.bootstrap, groups={"include": [NAME]})
    feed = Feed(kafka.bootstrap, NAME, 20.0)
    late = Reader(kafka.bootstrap, NAME, NAME, settings=SETTINGS)
    try:
        with Exporter(tmp_path, [source]) as exporter, feed:
            exporter.wait(lambda page: page.value("mq_consumers", group=NAME) == 1, "the consumer")
            with late:
                row = wait_until(lambda: _rebalancing(exporter), "the cause", 60)
                page = exporter.scrape()
    finally:
        stuck.close()
    assert row is not None
    assert row["causes"][0]["cause"] == "rebalancing"
    evidence = row["causes"][0]["evidence"]
    assert "waiting for 1 of 2 members to rejoin since " in evidence
    assert page.value("mq_group_state", group=NAME, state="preparing_rebalance") == 1
    assert page.value("mq_group_members", group=NAME) == 2
    assert page.value("mq_backlog_cause", group=NAME, cause="rebalancing") == 1


def _rebalancing(exporter: Exporter) -> dict[str, Any] | None:
    """Return the subscription from the JSON, once its cause is the rebalance."""
    rows = exporter.get("/api/v1/subscriptions").json()["subscriptions"]
    return next((row for row in rows if row["cause"] == "rebalancing"), None)
