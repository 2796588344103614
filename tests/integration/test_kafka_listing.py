"""Series of deleted groups and topics end.

Also for a user with few rights, and next to a topic without a leader.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic, delete_group, produce
from testbed.waiting import wait_until
from tests.support.watching import Watch

SLOWEST = 2.0
"""Seconds: far more than a scrape takes."""

SEEN = {("stays", "seen-orders", 0): 6, ("goes", "seen-orders", 0): 3}


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Three brokers; one topic has lost its only replica.

    A user sees topics with a certain prefix, but not the offsets topic.
    """
    with KafkaCluster() as cluster:
        create_topic(cluster.bootstrap, "seen-orders", 1, 3)
        produce(cluster.bootstrap, "seen-orders", 0, 10)
        commit_offsets(cluster.bootstrap, "stays", {("seen-orders", 0): 4})
        commit_offsets(cluster.bootstrap, "goes", {("seen-orders", 0): 7})
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        lost = NewTopic("seen-lost", num_partitions=1, replica_assignment=[[2]])
        admin.create_topics([lost])["seen-lost"].result(60)
        wait_until(
            lambda: "seen-lost" in admin.list_topics(timeout=5).topics, "the topic to be there"
        )
        cluster.add_user("few")
        cluster.allow("few", ["describe"], "topic", "seen-", prefixed=True)
        cluster.allow("few", ["describe"], "group", "*")
        cluster.wait_in_sync()
        cluster.kill(2)
        cluster.wait_fenced(2)
        yield cluster


def few_rights(cluster: KafkaCluster, name: str = "few") -> dict[str, Any]:
    """A source whose user cannot see the offsets' topic."""
    login = cluster.client_config("sasl", "few", None, "SCRAM-SHA-512")
    client = {key: str(value) for key, value in login.items()}
    bootstrap = client.pop("bootstrap.servers")
    return kafka_source(bootstrap, name, client=client, hold="5m")


def groups(page: Scrape, source: str) -> set[str]:
    return {dict(labels)["group"] for labels in page.find("mq_group_state", source=source)}


def test_a_deleted_group_is_gone_for_a_user_who_cannot_see_the_offsets_topic(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    sources = [few_rights(cluster), kafka_source(cluster.bootstrap, "all")]
    names = [source["name"] for source in sources]
    with Exporter(tmp_path, sources) as exporter:
        exporter.wait(lambda page: all(page.lags(name) == SEEN for name in names), "both groups")
        delete_group(cluster.bootstrap, "goes")
        page = exporter.wait(
            lambda page: all(groups(page, name) == {"stays"} for name in names),
            "the deleted group to be gone",
        )
        for name in names:
            assert page.lags(name) == {("stays", "seen-orders", 0): 6}
            assert page.value("mq_up", source=name) == 1
            failures = page.find("mq_collect_failures_total", source=name, task="backlog")
            reasons = {dict(labels)["reason"] for labels, count in failures.items() if count}
            assert reasons <= {"partial"}, "the topic without a leader is told"


def test_groups_are_kept_while_nobody_can_tell_whether_they_exist(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    """After all brokers were down, they list no group at first, as if that were complete.

    The user cannot see why.
    """
    commit_offsets(cluster.bootstrap, "goes", {("seen-orders", 0): 6})
    with Exporter(tmp_path, [few_rights(cluster, "test")]) as exporter:
        exporter.wait(lambda page: len(page.lags()) == 2, "both groups")
        commit_offsets(cluster.bootstrap, "goes", {("seen-orders", 0): 7})
        exporter.wait(
            lambda page: page.value("mq_consumed_messages_total", group="goes") == 1, "a commit"
        )
        exporter.wait(lambda page: page.lags() == SEEN, "its lag")
        with Watch(exporter) as watch:
            cluster.kill_all()
            exporter.wait(lambda page: page.value("mq_up", source="test") == 0, "it to be down")
            cluster.restart_all()
            exporter.wait(
                lambda page: page.value("mq_collect_success", source="test", task="backlog") == 1,
                "it to be back",
                180,
            )
            page = exporter.cycles(4)
        assert page.lags() == SEEN
        watch.hold(SEEN, SLOWEST)
        assert set(watch.counters["mq_consumed_messages_total"]) == {1.0}, "never dropped"
