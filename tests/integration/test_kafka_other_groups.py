"""Streams groups and share groups on real brokers: shown as they are, or counted and named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import AcknowledgeType, Message, ShareConsumer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.support.exporter import Exporter, Scrape, kafka_source, settled
from tests.support.kafka import KafkaCluster
from tests.support.kafka_data import admin_client, create_topic, produce
from tests.support.streams_member import StreamsMember
from tests.support.waiting import wait_until

ACCEPT, REJECT, RELEASE = AcknowledgeType.ACCEPT, AcknowledgeType.REJECT, AcknowledgeType.RELEASE
CAUSES_OF_CONSUMERS = {"no_consumers", "too_few_consumers"}


class ShareMember:
    """A member of a share group that reads from the beginning, and acknowledges what a test says."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        first = ConfigEntry(
            "share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[first])
        client: AdminClient = admin_client(bootstrap)
        client.incremental_alter_configs([resource])[resource].result(30)
        self._consumer = ShareConsumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "share.acknowledgement.mode": "explicit",
                "log_level": 0,
            }
        )
        self._consumer.subscribe([topic])

    def finish(self, wanted: Mapping[tuple[int, int], AcknowledgeType]) -> None:
        """Acknowledge these records, by partition and offset, each as it says; give back all others."""
        left = dict(wanted)

        def all_done() -> bool:
            messages = self._consumer.poll(0.5)
            for message in messages:
                self._consumer.acknowledge(message, left.pop(_place(message), RELEASE))
            if messages:
                self._consumer.commit_sync()
            return not left

        wait_until(all_done, "the records to come", 60)

    def close(self) -> None:
        self._consumer.close()


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert message.error() is None, message.error()
    assert partition is not None
    assert offset is not None
    return partition, offset


@contextmanager
def share_member(bootstrap: str, group: str, topic: str) -> Iterator[ShareMember]:
    member = ShareMember(bootstrap, group, topic)
    try:
        yield member
    finally:
        member.close()


def row(exporter: Exporter, group: str) -> dict[str, Any]:
    """The group's subscription as the JSON has it."""
    rows = exporter.get("/api/v1/subscriptions?partitions=true").json()["subscriptions"]
    (found,) = [each for each in rows if each["group"] == group]
    return dict(found)


def hidden(page: Scrape) -> dict[str, float]:
    return {
        dict(labels)["kind"]: value
        for labels, value in page.find("mq_groups_not_shown").items()
        if value
    }


def test_a_streams_group_is_shown_with_its_members(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    name, bootstrap = "other-streams", local_kafka.bootstrap
    create_topic(bootstrap, name, 2)
    produce(bootstrap, name, 0, 10)
    produce(bootstrap, name, 1, 5)
    source = kafka_source(bootstrap, groups={"include": [name]})
    with StreamsMember(bootstrap, name, name) as member, Exporter(tmp_path, [source]) as exporter:
        member.commit({0: 4, 1: 5})
        settled(exporter, {"mq_consumers": 1}, group=name, destination=name)
        wait_until(lambda: row(exporter, name)["status"] == "lagging", "an old backlog", 60)
        page = exporter.scrape()
        assert page.lags() == {(name, name, 0): 6, (name, name, 1): 0}
        assert page.value("mq_group_members", group=name) == 1
        assert page.value("mq_group_state", group=name, state="stable") == 1
        assert page.value("mq_uncommitted_partitions", group=name) == 0
        age = page.value("mq_lag_seconds", group=name, destination=name, partition="0")
        assert age is not None
        assert age > 5
        assert row(exporter, name)["cause"] not in CAUSES_OF_CONSUMERS
        assert hidden(page) == {}
        member.commit({0: 10})
        settled(exporter, {"mq_consumed_messages_total": 6}, group=name, destination=name)
        member.leave()
        settled(exporter, {"mq_group_members": 0}, group=name)
        settled(exporter, {"mq_consumers": 0}, group=name, destination=name)


def test_a_share_group_lags_by_the_records_that_it_is_not_done_with(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    """Records are acknowledged and rejected out of order: 30 less 5 accepted less 1 rejected."""
    name, bootstrap = "other-share", local_kafka.bootstrap
    create_topic(bootstrap, name, 2)
    produce(bootstrap, name, 0, 30)
    produce(bootstrap, name, 1, 7)
    source = kafka_source(bootstrap, groups={"include": [name]})
    wanted = dict.fromkeys([(0, 0), (0, 1), (0, 5), (0, 6), (0, 7)], ACCEPT)
    wanted |= {(0, 9): REJECT, **{(1, offset): ACCEPT for offset in range(7)}}
    with share_member(bootstrap, name, name) as member, Exporter(tmp_path, [source]) as exporter:
        member.finish(wanted)
        page = exporter.wait(lambda page: page.lags() == share_lags(name, 24, 0), "the lag")
        assert page.value("mq_lag_upper_bound", group=name) is None, "it is exact"
        assert page.value("mq_consumers", group=name) == 1
        assert page.value("mq_group_members", group=name) == 1
        assert page.value("mq_group_state", group=name, state="stable") == 1
        before = page.value("mq_consumed_messages_total", group=name, destination=name)
        assert before is not None
        produce(bootstrap, name, 1, 3)
        exporter.wait(lambda page: page.lags() == share_lags(name, 24, 3), "what was produced")
        member.finish({(0, 2): ACCEPT, (1, 8): ACCEPT})
        page = exporter.wait(lambda page: page.lags() == share_lags(name, 23, 2), "one less each")
        after = page.value("mq_consumed_messages_total", group=name, destination=name)
        assert after == before + 2
        assert page.value("mq_offset_rewinds_total", group=name) == 0
        assert hidden(page) == {}


def share_lags(name: str, *lags: int) -> dict[tuple[str, str, int], int]:
    return {(name, name, partition): lag for partition, lag in enumerate(lags)}
