"""The series of removed brokers and old addresses end; those of dead brokers don't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.exporter import Exporter, Scrape
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic, produce
from tests.integration.test_kafka_probes import counts, probing, received, succeeding

TOPIC = "probes"


@pytest.fixture
def cluster(own_kafka: KafkaCluster) -> KafkaCluster:
    """Three brokers with a topic that has replicas on each, and Kafka's topic of offsets."""
    create_topic(own_kafka.bootstrap, "t", 3, 3)
    produce(own_kafka.bootstrap, "t", n=3)
    commit_offsets(own_kafka.bootstrap, "g", {("t", 0): 1})
    return own_kafka


@pytest.fixture
def watching(cluster: KafkaCluster, tmp_path: Path) -> Iterator[Exporter]:
    nodes = [cluster.address(broker) for broker in cluster.broker_ids]
    row = probing(cluster.bootstrap, TOPIC, probe={"deadline": "2s"})
    with Exporter(tmp_path, [row]) as exporter:
        exporter.wait(lambda page: received(page, nodes) >= 2, "probes of each broker")
        yield exporter


def up(page: Scrape) -> dict[str, float]:
    found = page.find("mq_node_up", source="test")
    return {dict(labels)["node"]: value for labels, value in found.items()}


def named(page: Scrape, node: str) -> set[str]:
    """Return the metrics that have a series of the node."""
    return {name for name, labels in page.series if ("node", node) in labels}


def test_a_broker_that_was_decommissioned_goes_and_a_dead_one_stays_down(
    cluster: KafkaCluster, watching: Exporter
) -> None:
    first, second, third = (cluster.address(broker) for broker in cluster.broker_ids)
    cluster.decommission(2, leave=[TOPIC])
    page = watching.wait(lambda page: not named(page, third), "the broker's series to end")
    assert up(page) == {first: 1, second: 1}
    assert succeeding(page) == {first: 1, second: 1}
    page = watching.cycles(3)
    assert named(page, third) == set()
    assert page.value("mq_collect_success", task="probe") == 1
    assert watching.log().count("probe.partitions_orphaned") == 1
    # The series of a dead broker stay although it is not listed either: it still has replicas.
    before = counts(page, second)
    cluster.restart(2)
    watching.wait(lambda page: up(page).get(third) == 1, "it to be a broker again")
    cluster.kill(1)
    cluster.wait_fenced(1)
    watching.wait(lambda page: succeeding(page)[second] == 0, "a failed probe")
    page = watching.cycles(4)
    page = watching.wait(
        lambda page: counts(page, second)["failed"] >= before["failed"] + 3, "more of them"
    )
    assert (up(page)[second], succeeding(page)[second]) == (0, 0)


def test_a_broker_that_comes_back_at_another_address_leaves_nothing_at_the_old_one(
    cluster: KafkaCluster, watching: Exporter
) -> None:
    others = [cluster.address(broker) for broker in (0, 2)]
    old = cluster.address(1)
    cluster.move(1)
    new = cluster.address(1)
    assert new != old
    page = watching.wait(
        lambda page: received(page, [new]) >= 1 and not named(page, old), "its series to change"
    )
    assert up(page) == dict.fromkeys([*others, new], 1)
    page = watching.wait(
        lambda page: succeeding(page) == dict.fromkeys([*others, new], 1), "all to succeed"
    )
