"""Numbers that depend on unreadable parts, and positions that say little, on a real cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic

from testbed.exporter import Exporter, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import (
    add_partitions,
    admin_client,
    commit_offsets,
    create_topic,
    produce,
)
from testbed.kafka_load import Feed, Reader
from testbed.waiting import wait_until

Row = dict[str, Any]
HOLD = {"hold": "5s", "deadline": "4s"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


def create_on(cluster: KafkaCluster, topic: str, brokers: list[int]) -> None:
    """Create a topic with one replica of each partition, on these brokers in turn."""
    assignment = [[broker] for broker in brokers]
    client = admin_client(cluster.bootstrap)
    client.create_topics(
        [NewTopic(topic, num_partitions=len(brokers), replica_assignment=assignment)]
    )[topic].result(30)


def row_of(exporter: Exporter, group: str) -> Row | None:
    rows = exporter.get(f"/api/v1/subscriptions?group={group}").json()["subscriptions"]
    return next(iter(rows), None)


def wait_row(exporter: Exporter, group: str, holds: Callable[[Row], bool], what: str) -> Row:
    def look() -> Row | None:
        row = row_of(exporter, group)
        return row if row is not None and holds(row) else None

    try:
        found = wait_until(look, what, 120)
    except TimeoutError:
        raise AssertionError(f"{what}: {row_of(exporter, group)}") from None
    assert found is not None
    return found


def test_a_partition_without_a_leader_makes_what_depends_on_it_unknown(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    """20 messages wait on a partition of broker 0, and 50 on one of broker 2, which stops: 70."""
    create_on(cluster, "partial", [0, 2])
    produce(cluster.bootstrap, "partial", 0, 120)
    produce(cluster.bootstrap, "partial", 1, 150)
    commit_offsets(cluster.bootstrap, "partial", {("partial", 0): 100, ("partial", 1): 100})
    named = kafka_source(cluster.bootstrap, groups={"include": ["partial"]}, **HOLD)
    summed = {**named, "name": "summed", "granularity": "subscription"}
    with Exporter(tmp_path, [named, summed]) as exporter:
        wait_row(exporter, "partial", lambda row: row["lag_messages"] == 70, "the whole lag")
        exporter.wait(lambda p: p.value("mq_lag_messages", source="summed") == 70, "the sum")
        cluster.kill(2)
        cluster.wait_fenced(2)
        try:
            row = wait_row(
                exporter, "partial", lambda row: row["unreadable_partitions"] == 1, "a part missing"
            )
            assert (row["lag_messages"], row["lag_messages_at_least"]) == (None, 20)
            assert (row["status"], row["causes"]) == ("unknown", [])
            assert row["status_reason"].startswith("1 partition cannot be read")
            assert row["drains"] is row["retention_margin_messages"] is None
            sub = {"source": "test", "group": "partial"}
            page = exporter.wait(
                lambda p: (
                    p.value("mq_unreadable_partitions", **sub) == 1
                    and p.find("mq_lag_messages", source="summed") == {}
                ),
                "both sources to say so",
            )
            assert page.value("mq_lag_messages", **sub, partition="0") == 20
            assert page.find("mq_lag_messages", **sub, partition="1") == {}
            assert page.value("mq_subscription_status", **sub, status="unknown") == 1
        finally:
            cluster.restart(2)
            cluster.wait_broker(2)
        row = wait_row(
            exporter, "partial", lambda row: row["lag_messages"] == 70, "all of it again"
        )
        assert row["unreadable_partitions"] == 0
        page = exporter.cycles(1)
        assert page.find("mq_unreadable_partitions", group="partial") == {}
    cluster.wait_in_sync()


def test_a_live_group_that_never_commits_is_uncommitted_and_no_fault(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    create_topic(cluster.bootstrap, "never", 2)
    source = kafka_source(cluster.bootstrap, groups={"include": ["never"]})
    thresholds = [{"lag_messages": 10, "lag_seconds": "1s", "stop_seconds": "3s"}]
    with ExitStack() as stack:
        stack.enter_context(Feed(cluster.bootstrap, "never", 50))
        settings = {"enable.auto.commit": False}
        reader = stack.enter_context(Reader(cluster.bootstrap, "never", "never", settings=settings))
        exporter = Exporter(tmp_path, [source])
        exporter.write([source], thresholds=thresholds)
        stack.enter_context(exporter)
        wait_row(exporter, "never", lambda row: row["status"] == "uncommitted", "uncommitted")
        begun = reader.done
        wait_until(lambda: reader.done > begun + 500, "the group to read for ten seconds more")
        row = wait_row(exporter, "never", lambda _: True, "the group")
        assert (row["status"], row["causes"], row["lag_messages"]) == ("uncommitted", [], None)
        assert row["status_reason"].startswith("the group has never committed an offset")
        assert row["consumers"] == 1


def test_a_position_past_the_end_at_the_start_says_what_will_be_skipped(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    create_topic(cluster.bootstrap, "past", 2)
    produce(cluster.bootstrap, "past", 0, 30)
    commit_offsets(cluster.bootstrap, "past", {("past", 0): 100, ("past", 1): 0})
    source = kafka_source(cluster.bootstrap, groups={"include": ["past"]})
    with Exporter(tmp_path, [source]) as exporter:
        row = wait_row(exporter, "past", lambda row: row["status"] == "past_end", "past the end")
        assert (row["lag_messages"], row["past_end_messages"]) == (0, 70)
        assert row["causes"][0]["cause"] == "past_end"
        sub = {"group": "past", "destination": "past"}
        exporter.wait(
            lambda p: p.value("mq_position_anomalies_total", **sub, kind="past_end") == 1,
            "the count",
        )
        produce(cluster.bootstrap, "past", 0, 40)
        exporter.wait(lambda p: p.value("mq_past_end_messages", **sub) == 30, "40 were skipped")
        produce(cluster.bootstrap, "past", 0, 35)
        page = exporter.wait(
            lambda p: p.value("mq_lag_messages", **sub, partition="0") == 5, "5 can be read"
        )
        assert page.find("mq_past_end_messages") == {}


def test_added_partitions_are_unread_until_they_are_assigned(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    """The reader looks for new partitions only every five minutes, as by default."""
    create_topic(cluster.bootstrap, "added", 1)
    produce(cluster.bootstrap, "added", 0, 10)
    source = kafka_source(cluster.bootstrap, groups={"include": ["added"]})
    sub = {"group": "added", "destination": "added"}
    with ExitStack() as stack:
        stack.enter_context(Reader(cluster.bootstrap, "added", "added"))
        exporter = Exporter(tmp_path, [source])
        exporter.write([source], thresholds=[{"lag_messages": 100}])
        stack.enter_context(exporter)
        exporter.wait(
            lambda p: (
                p.value("mq_lag_messages", **sub, partition="0") == 0
                and p.value("mq_consumers", **sub) == 1
            ),
            "the group to have read everything",
        )
        add_partitions(cluster.bootstrap, "added", 3)
        produce(cluster.bootstrap, "added", 2, 200)
        page = exporter.wait(
            lambda p: p.value("mq_uncommitted_messages", **sub) == 200, "200 unread messages"
        )
        assert page.value("mq_uncommitted_partitions", **sub) == 1
        row = wait_row(exporter, "added", lambda row: row["status"] == "lagging", "a backlog")
        assert row["uncommitted_messages"] == 200
        assert row["cause"] == "unassigned_partitions"
        assert "partition 2" in row["causes"][0]["evidence"]
    # A new exporter first sees the group without members, and never saw the topic with one
    # partition.
    with Exporter(tmp_path, [source]) as exporter:
        page = exporter.wait(
            lambda p: (
                p.value("mq_group_members", group="added") == 0
                and p.value("mq_uncommitted_messages", **sub) == 200
            ),
            "200 unread messages of a group without members",
        )
        assert page.value("mq_uncommitted_partitions", **sub) == 1
        row = wait_row(exporter, "added", lambda row: row["status"] != "unknown", "a status")
        assert "unassigned_partitions" not in [cause["cause"] for cause in row["causes"]]


def test_a_partition_that_stands_still_is_named(cluster: KafkaCluster, tmp_path: Path) -> None:
    """Its consumer has paused partition 1, as clients do if they cannot process a message."""
    create_topic(cluster.bootstrap, "stuck", 2)
    commit_offsets(cluster.bootstrap, "stuck", {("stuck", 0): 0, ("stuck", 1): 0})
    source = kafka_source(cluster.bootstrap, groups={"include": ["stuck"]})
    thresholds = [{"lag_messages": 10, "lag_seconds": "2s", "stop_seconds": "6s"}]
    with ExitStack() as stack:
        exporter = Exporter(tmp_path, [source])
        exporter.write([source], thresholds=thresholds)
        stack.enter_context(exporter)
        consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap,
                "group.id": "stuck",
                "auto.commit.interval.ms": 300,
                "log_level": 0,
            }
        )
        stack.callback(consumer.close)

        def assigned(member: Consumer, partitions: list[TopicPartition]) -> None:
            member.assign(partitions)
            member.pause([each for each in partitions if each.partition == 1])

        consumer.subscribe(["stuck"], on_assign=assigned)

        def evidence() -> str | None:
            for partition in (0, 1):
                produce(cluster.bootstrap, "stuck", partition, 10)
            consumer.consume(100, 0.3)
            row = row_of(exporter, "stuck")
            causes = [] if row is None else row["causes"]
            found = {each["cause"]: each["evidence"] for each in causes}
            text = found.get("uneven_partitions", "")
            return text if "has not moved" in text else None

        found = wait_until(evidence, "the evidence", 120)
        assert found is not None
        assert found.startswith("partition 1 has not moved for ")
        assert "while others move" in found
