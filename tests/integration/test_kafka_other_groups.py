"""Streams groups and share groups on real brokers: shown correctly, or counted and named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import AcknowledgeType, Message, ShareConsumer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from testbed.exporter import Exporter, Scrape, kafka_source, settled
from testbed.kafka import KafkaCluster
from testbed.kafka_access import Listener, Mechanism
from testbed.kafka_data import admin_client, create_topic, delete_group, produce
from testbed.streams_member import StreamsMember
from testbed.waiting import wait_until
from tests.support.checking import check

ACCEPT, REJECT, RELEASE = AcknowledgeType.ACCEPT, AcknowledgeType.REJECT, AcknowledgeType.RELEASE
STREAMS, SHARE = "other-kind-streams", "other-kind-share"
CAUSES_OF_CONSUMERS = {"no_consumers", "too_few_consumers"}


class ShareMember:
    """A member of a share group that reads from the beginning and acknowledges on request."""

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
        """Acknowledge these records, by partition and offset, with the given type.

        All others are released.
        """
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
    """Return the group's subscription from the JSON."""
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


@dataclass
class World:
    """A group of each kind with a member, on two partitions.

    The streams group has a lag of 6, the share group of 4.
    """

    kafka: KafkaCluster

    def source(
        self,
        name: str,
        listener: Listener,
        user: str = "admin",
        mechanism: Mechanism = "PLAIN",
        **more: Any,
    ) -> dict[str, Any]:
        client = {
            key: str(value)
            for key, value in self.kafka.client_config(listener, user, mechanism=mechanism).items()
        }
        bootstrap = client.pop("bootstrap.servers")
        groups = {"groups": {"include": [STREAMS, SHARE]}, "probe": {"enabled": False}}
        return kafka_source(bootstrap, name, client=client, **{**groups, **more})


@pytest.fixture(scope="module")
def world(local_kafka: KafkaCluster) -> Iterator[World]:
    bootstrap = local_kafka.bootstrap
    for name in (STREAMS, SHARE):
        create_topic(bootstrap, name, 1)
        produce(bootstrap, name, 0, 10)
    with (
        StreamsMember(bootstrap, STREAMS, STREAMS) as streams,
        share_member(bootstrap, SHARE, SHARE) as share,
    ):
        streams.commit({0: 4})
        share.finish({(0, offset): ACCEPT for offset in (0, 1, 3, 5, 7, 9)})
        yield World(local_kafka)


def lag_of(page: Scrape, source: str, group: str) -> float | None:
    return page.value("mq_lag_messages", source=source, group=group, partition="0")


def members_of(page: Scrape, source: str, group: str) -> float | None:
    return page.value("mq_group_members", source=source, group=group)


def test_each_way_to_connect_serves_both_kinds(world: World, tmp_path: Path) -> None:
    world.kafka.add_user("other-scram")
    world.kafka.allow("other-scram", ["describe"], "topic", "other-", prefixed=True)
    world.kafka.allow("other-scram", ["describe"], "group", "other-", prefixed=True)
    sources = [
        world.source("plain", "plaintext"),
        world.source("ssl", "ssl"),
        world.source("mtls", "mtls"),
        world.source("sasl", "sasl"),
        world.source("scram", "sasl_ssl", "other-scram", "SCRAM-SHA-512"),
        world.source("names", "plaintext", groups={"names": [STREAMS, SHARE, "other-nobody"]}),
    ]

    def all_there(page: Scrape) -> bool:
        found = {
            source["name"]: (
                lag_of(page, source["name"], STREAMS),
                lag_of(page, source["name"], SHARE),
                members_of(page, source["name"], STREAMS),
                members_of(page, source["name"], SHARE),
            )
            for source in sources
        }
        return found == {source["name"]: (6, 4, 1, 1) for source in sources}

    with Exporter(tmp_path, sources) as exporter:
        page = exporter.wait(all_there, "both groups by each source")
        assert hidden(page) == {}


def test_where_only_librdkafka_can_connect_the_share_group_is_counted(
    world: World, tmp_path: Path
) -> None:
    source = world.source("test", "sasl", mechanism="OAUTHBEARER")
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(lambda page: hidden(page) == {"other": 1}, "the count")
        page = exporter.wait(lambda page: lag_of(page, "test", STREAMS) == 6, "the streams group")
        assert members_of(page, "test", STREAMS) is None, "it is not known"
        assert page.value("mq_consumers", group=STREAMS) is None
        wait_until(lambda: row(exporter, STREAMS)["status"] == "lagging", "an old backlog", 60)
        assert row(exporter, STREAMS)["cause"] not in CAUSES_OF_CONSUMERS
        assert exporter.scrape().find("mq_group_state", group=SHARE) == {}
        lines = [line for line in exporter.log().splitlines() if "groups.not_shown" in line]
        assert len(lines) == 1, "said once"
        assert SHARE in lines[0]
        assert "OAUTHBEARER" in lines[0]
    code, _, _, findings = check(tmp_path, source)
    mark, detail = findings["streams and share groups"]
    assert (mark, code) == ("missing", 0)
    assert [word for word in (STREAMS, SHARE, "OAUTHBEARER") if word not in detail] == []


def test_groups_that_may_be_listed_and_not_read_are_counted_and_named(
    world: World, tmp_path: Path
) -> None:
    """The right to describe the cluster lists all groups, and shows nothing else of them."""
    world.kafka.add_user("other-lister")
    world.kafka.allow("other-lister", ["describe"], "broker", "kafka-cluster")
    world.kafka.allow("other-lister", ["describe"], "topic", "other-", prefixed=True)
    source = world.source("test", "sasl", "other-lister", "SCRAM-SHA-512")
    with Exporter(tmp_path, [source]) as exporter:
        page = exporter.wait(lambda page: hidden(page) == {"share": 1, "streams": 1}, "the counts")
        assert page.lags() == {}
        lines = [line for line in exporter.log().splitlines() if "groups.not_shown" in line]
        assert len(lines) == 2
        assert all("Describe on the group" in line for line in lines)
        world.kafka.allow("other-lister", ["describe"], "group", "other-", prefixed=True)
        exporter.wait(
            lambda page: (
                not hidden(page)
                and (lag_of(page, "test", STREAMS), lag_of(page, "test", SHARE)) == (6, 4)
            ),
            "both groups, with the right",
        )


def test_check_names_a_group_that_can_not_be_read(world: World, tmp_path: Path) -> None:
    world.kafka.add_user("other-blind")
    world.kafka.allow("other-blind", ["describe"], "broker", "kafka-cluster")
    world.kafka.allow("other-blind", ["describe"], "topic", "other-", prefixed=True)
    findings = check(
        tmp_path, world.source("test", "sasl", "other-blind", "SCRAM-SHA-512")
    ).findings
    mark, detail = findings["streams and share groups"]
    assert mark == "missing"
    assert [word for word in (SHARE, "Describe on the group") if word not in detail] == []


def test_check_counts_both_kinds_and_tells_names_of_no_group(world: World, tmp_path: Path) -> None:
    findings = check(tmp_path, world.source("test", "plaintext")).findings
    assert findings["streams and share groups"] == ("ok", "streams groups: 1, share groups: 1")
    assert "named groups" not in findings
    named = {"names": [STREAMS, SHARE, "other-nobody"]}
    findings = check(tmp_path, world.source("test", "plaintext", groups=named)).findings
    assert findings["streams and share groups"] == ("ok", "streams groups: 1, share groups: 1")
    mark, detail = findings["named groups"]
    assert mark == "missing"
    assert "other-nobody" in detail
    assert STREAMS not in detail
    assert SHARE not in detail


def test_a_deleted_share_group_is_gone(local_kafka: KafkaCluster, tmp_path: Path) -> None:
    name, bootstrap = "other-deleted", local_kafka.bootstrap
    create_topic(bootstrap, name, 1)
    produce(bootstrap, name, 0, 5)
    source = kafka_source(bootstrap, groups={"include": [name]})
    with Exporter(tmp_path, [source]) as exporter:
        with share_member(bootstrap, name, name) as member:
            member.finish({(0, 0): ACCEPT})
            exporter.wait(lambda page: page.lags() == share_lags(name, 4), "the lag")
        settled(exporter, {"mq_group_members": 0}, group=name)
        assert exporter.scrape().lags() == share_lags(name, 4)
        delete_group(bootstrap, name)
        page = exporter.wait(lambda page: not page.find("mq_group_state", group=name), "its end")
        assert page.lags() == {}
