"""Probes of real brokers: correct times, every broker covered, independent, cleaned up."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import ConfigResource

from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import admin_client, create_topic, delete_topic, end_offsets
from testbed.waiting import wait_until
from tests.integration.test_kafka_security import run, source

SCHEDULE = {"backlog": "1s", "probe": "500ms"}


def probing(bootstrap: str, topic: str, name: str = "test", **more: Any) -> dict[str, Any]:
    """A source that sends probes to this topic."""
    probe = {"enabled": True, "destination": topic, **more.pop("probe", {})}
    return kafka_source(bootstrap, name, probe=probe, schedule=SCHEDULE, **more)


def counts(page: Scrape, node: str, name: str = "test") -> dict[str, float]:
    """Return the probes of a node, by result."""
    found = page.find("mq_probe_messages_total", source=name, node=node)
    return {dict(labels)["result"]: value for labels, value in found.items()}


def received(page: Scrape, nodes: list[str], name: str = "test") -> float:
    """Return the smallest number of received probes of a node."""
    return min(counts(page, node, name).get("received", 0) for node in nodes)


def stage(page: Scrape, node: str, name: str, stage: str) -> tuple[float, float]:
    """Return the number of timed probes, and their mean in seconds."""
    labels = {"source": name, "node": node, "stage": stage}
    count = page.value("mq_probe_latency_seconds_count", **labels) or 0.0
    total = page.value("mq_probe_latency_seconds_sum", **labels) or 0.0
    return count, total / count if count else 0.0


def succeeding(page: Scrape, name: str = "test") -> dict[str, float]:
    found = page.find("mq_probe_success", source=name)
    return {dict(labels)["node"]: value for labels, value in found.items()}


def nodes_of(kafka: KafkaCluster) -> list[str]:
    return [kafka.address(broker) for broker in kafka.broker_ids]


def leaders(bootstrap: str, topic: str) -> dict[int, tuple[int, list[int]]]:
    """Leader and replicas of each partition."""
    found = admin_client(bootstrap).list_topics(timeout=10).topics[topic].partitions
    return {number: (p.leader, list(p.replicas)) for number, p in found.items()}


def groups(bootstrap: str, topic: str) -> set[str]:
    """Return the existing groups whose names begin with the topic's name."""
    client = admin_client(bootstrap)
    listed = client.list_consumer_groups().result(30)
    assert listed.errors == []
    return {g.group_id for g in listed.valid if g.group_id.startswith(topic)}


def own_times(bootstrap: str, topic: str, partition: int, count: int) -> list[tuple[float, float]]:
    """Seconds to publish and to receive, measured by this test's own producer and consumer."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 0})
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "never",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 1,
            "log_level": 0,
        }
    )
    (start,) = end_offsets(bootstrap, [(topic, partition)]).values()
    consumer.assign([TopicPartition(topic, partition, start)])
    times = []
    for number in range(count + 1):
        published: list[float] = []
        mark = f"own-{number}".encode()
        began = time.perf_counter()
        producer.produce(
            topic,
            mark,
            partition=partition,
            on_delivery=lambda *_, at=published: at.append(time.perf_counter()),
        )
        producer.flush(30)

        def is_there(mark: bytes = mark) -> bool:
            message = consumer.poll(1.0)
            return message is not None and message.value() == mark

        wait_until(is_there, "the own message", poll_seconds=0)
        times.append((published[0] - began, time.perf_counter() - began))
    consumer.close()
    return times[1:]  # the first one opened the connections


# Two exporters on one topic

TOPIC = "probes-shared"


@pytest.fixture(scope="module")
def pair(
    local_kafka: KafkaCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Exporter, Exporter]]:
    """Two exporters that started together; each has received ten probes of each broker."""
    bootstrap = local_kafka.bootstrap
    open_source = probing(bootstrap, TOPIC, "open", internals=True)
    folders = [tmp_path_factory.mktemp("probes") for _ in range(2)]
    with (
        Exporter(folders[0], [probing(bootstrap, TOPIC)]) as first,
        Exporter(folders[1], [probing(bootstrap, TOPIC), open_source]) as second,
    ):
        for exporter in (first, second):
            exporter.wait(
                lambda page: received(page, nodes_of(local_kafka)) >= 10, "probes of each broker"
            )
        yield first, second


def test_the_topic_is_made_with_a_partition_led_by_each_broker(
    local_kafka: KafkaCluster, pair: tuple[Exporter, Exporter]
) -> None:
    brokers = local_kafka.broker_ids
    assert leaders(local_kafka.bootstrap, TOPIC) == {n: (b, [b]) for n, b in enumerate(brokers)}
    resource = ConfigResource(ConfigResource.Type.TOPIC, TOPIC)
    client = admin_client(local_kafka.bootstrap)
    config = client.describe_configs([resource])[resource].result(30)
    assert (config["cleanup.policy"].value, config["retention.ms"].value) == ("delete", "600000")


def test_two_exporters_on_one_topic_receive_every_probe(
    local_kafka: KafkaCluster, pair: tuple[Exporter, Exporter]
) -> None:
    nodes = nodes_of(local_kafka)
    for exporter, names in zip(pair, (["test"], ["test", "open"]), strict=True):
        page = exporter.scrape()
        for name in names:
            assert succeeding(page, name) == dict.fromkeys(nodes, 1)
            assert page.value("mq_collect_success", source=name, task="probe") == 1
            for node in nodes:
                seen = counts(page, node, name)
                assert (seen["lost"], seen["failed"]) == (0, 0)
                assert seen["sent"] == seen["received"] > 0


def test_each_stage_is_timed_as_others_time_it(
    local_kafka: KafkaCluster, pair: tuple[Exporter, Exporter]
) -> None:
    """Bounds that hold on any machine: both measure at the same time on the same partition."""
    for broker, node in zip(local_kafka.broker_ids, nodes_of(local_kafka), strict=True):
        own = own_times(local_kafka.bootstrap, TOPIC, broker, 20)
        page = pair[0].scrape()
        for at, name in enumerate(("publish", "receive")):
            count, mean = stage(page, node, "test", name)
            ours = sorted(times[at] for times in own)
            assert count >= 10
            assert ours[0] / 5 < mean < ours[-1] * 10 + 0.1, (name, mean, ours)
        acks, mean = stage(page, node, "test", "ack")
        assert acks >= 1
        assert mean > stage(page, node, "test", "receive")[1] / 2


def test_the_probes_own_topic_and_groups_are_shown_only_where_internals_are(
    local_kafka: KafkaCluster, pair: tuple[Exporter, Exporter]
) -> None:
    page = pair[1].wait(
        lambda page: (
            page.find("mq_lag_messages", source="open", destination=TOPIC)
            and page.find("mq_group_state", source="open", group=f"{TOPIC}-0")
        ),
        "the probes' groups where internals are shown",
    )
    shown = {
        (name, labels)
        for name, labels in page.series
        if ("source", "test") in labels and any(TOPIC in value for _, value in labels)
    }
    assert shown == set()
    assert groups(local_kafka.bootstrap, TOPIC) != set()


def test_an_end_in_good_order_deletes_the_groups_and_disturbs_nobody(
    local_kafka: KafkaCluster, pair: tuple[Exporter, Exporter]
) -> None:
    """Runs as the last test of the pair, since it stops both."""
    nodes = nodes_of(local_kafka)
    first, second = pair
    end(first)
    before = second.scrape()
    page = second.wait(
        lambda page: all(
            stage(page, node, "test", "ack")[0] > stage(before, node, "test", "ack")[0] + 1
            for node in nodes
        ),
        "more commits by the other exporter",
    )
    for node in nodes:
        seen = counts(page, node)
        assert seen["sent"] == seen["received"]
    end(second)
    assert groups(local_kafka.bootstrap, TOPIC) == set()
    assert set(leaders(local_kafka.bootstrap, TOPIC)) == {0, 1, 2}, "the topic stays"


def end(exporter: Exporter) -> None:
    assert exporter.child is not None
    exporter.signal(signal.SIGTERM)
    wait_until(lambda: not exporter.child.is_running, "the end")  # type: ignore[union-attr]


def test_a_source_that_is_taken_out_by_a_reload_deletes_its_groups(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    bootstrap, nodes = local_kafka.bootstrap, nodes_of(local_kafka)
    stays, goes = probing(bootstrap, "probes-stays"), probing(bootstrap, "probes-goes", "goes")
    with Exporter(tmp_path, [stays, goes]) as exporter:
        exporter.wait(
            lambda page: all(stage(page, node, "goes", "ack")[0] for node in nodes), "commits"
        )
        assert groups(bootstrap, "probes-goes") != set()
        exporter.write([stays])
        exporter.signal(signal.SIGHUP)
        wait_until(lambda: groups(bootstrap, "probes-goes") == set(), "the groups to be deleted")
        exporter.wait(lambda page: succeeding(page) == dict.fromkeys(nodes, 1), "the other's")


def test_a_topic_with_too_few_partitions_is_given_more_where_that_is_allowed(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    bootstrap, topic = local_kafka.bootstrap, "probes-few"
    create_topic(bootstrap, topic, 1, 2)
    before = leaders(bootstrap, topic)
    with Exporter(tmp_path, [probing(bootstrap, topic)]) as exporter:
        exporter.wait(lambda page: received(page, nodes_of(local_kafka)) >= 2, "probes of each")
    after = leaders(bootstrap, topic)
    assert after[0] == before[0], "nothing was reassigned"
    assert {leader for leader, _ in after.values()} == set(local_kafka.broker_ids)
    assert {len(replicas) for _, replicas in after.values()} == {2}


def test_a_topic_that_is_deleted_is_made_anew(local_kafka: KafkaCluster, tmp_path: Path) -> None:
    bootstrap, topic, nodes = local_kafka.bootstrap, "probes-deleted", nodes_of(local_kafka)
    create_topic(bootstrap, topic, 3, 1)
    probe = {"deadline": "1s"}
    with Exporter(tmp_path, [probing(bootstrap, topic, probe=probe)]) as exporter:
        exporter.wait(lambda page: received(page, nodes) >= 2, "probes of each broker")
        delete_topic(bootstrap, topic)
        exporter.wait(lambda page: "probe.topic_made" in exporter.log(), "a new topic")
        before = exporter.scrape()
        exporter.wait(
            lambda page: (
                received(page, nodes) > received(before, nodes) + 2
                and succeeding(page) == dict.fromkeys(nodes, 1)
            ),
            "probes by the new topic",
        )
    assert {leader for leader, _ in leaders(bootstrap, topic).values()} == {0, 1, 2}


def test_no_topic_is_made_where_probes_are_switched_off(
    local_kafka: KafkaCluster, tmp_path: Path
) -> None:
    off = probing(local_kafka.bootstrap, "probes-off", probe={"enabled": False})
    with Exporter(tmp_path, [off]) as exporter:
        exporter.wait(
            lambda page: (
                page.value("mq_collect_last_success_timestamp_seconds", task="probe")
                != page.value("mq_collect_last_success_timestamp_seconds", task="discovery")
            ),
            "the task to have run",
        )
        page = exporter.cycles(3)
        assert page.find("mq_probe_success") == {}
        assert page.value("mq_collect_success", task="probe") == 1
    assert "probes-off" not in admin_client(local_kafka.bootstrap).list_topics(timeout=10).topics


# Rights

USERS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "makes": (("create", "describe", "read", "write"), ("read", "delete")),
    "uses": (("describe", "read", "write"), ()),
    "reads": (("describe", "read"), ("read",)),
    "none": ((), ()),
}
"""Each user's operations on the topics, and on the groups that begin with `probes-USER`."""


@pytest.fixture(scope="module")
def users(local_kafka: KafkaCluster) -> None:
    create_topic(local_kafka.bootstrap, "probes-uses", 1, 1)
    create_topic(local_kafka.bootstrap, "probes-reads", 3, 1)
    for user, (on_topic, on_groups) in USERS.items():
        name = f"probes-{user}"
        local_kafka.add_user(name)
        if on_topic:
            local_kafka.allow(name, on_topic, "topic", name, prefixed=True)
        if on_groups:
            local_kafka.allow(name, on_groups, "group", f"{name}-", prefixed=True)


def as_user(kafka: KafkaCluster, user: str, *, enabled: bool | None, name: str) -> dict[str, Any]:
    client = kafka.client_config("sasl", f"probes-{user}", mechanism="SCRAM-SHA-512")
    probe: dict[str, Any] = {"destination": f"probes-{user}"}
    if enabled is not None:
        probe["enabled"] = enabled
    return source(name, client, probe=probe, schedule=SCHEDULE)


def test_the_rights_that_the_docs_ask_for_suffice(
    local_kafka: KafkaCluster, users: None, tmp_path: Path
) -> None:
    nodes = [local_kafka.address(broker, "sasl") for broker in local_kafka.broker_ids]
    row = as_user(local_kafka, "makes", enabled=True, name="test")
    printed = run("check", tmp_path, [row])
    mark, detail = printed.findings["probe"]
    assert (mark, "with a partition on each of 3 brokers" in detail) == ("ok", True)
    topics = admin_client(local_kafka.bootstrap).list_topics(timeout=10).topics
    assert "probes-makes" not in topics, "check makes nothing"
    with Exporter(tmp_path, [row]) as exporter:
        page = exporter.wait(
            lambda page: all(stage(page, node, "test", "ack")[0] >= 2 for node in nodes), "commits"
        )
        assert succeeding(page) == dict.fromkeys(nodes, 1)
        assert page.value("mq_collect_success", task="probe") == 1
        mark, detail = run("check", tmp_path, [row]).findings["probe"]
        assert (mark, detail) == ("ok", "topic probes-makes covers 3 of 3 brokers")
        end(exporter)
    assert groups(local_kafka.bootstrap, "probes-makes") == set()


@pytest.mark.parametrize("enabled", [True, None])
def test_a_topic_that_may_not_be_changed_is_used_as_it_is(
    local_kafka: KafkaCluster, users: None, tmp_path: Path, enabled: bool | None
) -> None:
    """Its one partition covers one broker; the others are named, and commits are not allowed."""
    ((leader, _),) = leaders(local_kafka.bootstrap, "probes-uses").values()
    covered = local_kafka.address(leader, "sasl")
    others = {local_kafka.address(b, "sasl") for b in local_kafka.broker_ids if b != leader}
    row = as_user(local_kafka, "uses", enabled=enabled, name="test")
    with Exporter(tmp_path, [row]) as exporter:
        page = exporter.wait(lambda page: received(page, [covered]) >= 2, "probes of one broker")
        assert succeeding(page) == {covered: 1}
        assert stage(page, covered, "test", "ack")[0] == 0
        assert page.value("mq_collect_success", task="probe") == (0 if enabled else 1)
        log = exporter.log()
    told = [line for line in log.splitlines() if "probe.not_covered" in line]
    assert len(told) == 1
    assert [text for text in (*others, "Alter on the topic") if text not in told[0]] == []
    assert log.count("probe.not_committed") == 1
    assert "Read on the topic, and on groups" in log
    printed = run("check", tmp_path, [row])
    mark, detail = printed.findings["probe"]
    assert mark == ("missing" if enabled else "ok")
    assert "covers 1 of 3 brokers" in detail
    assert all(other in detail for other in others)
    assert (printed.code == 1) >= bool(enabled)
    assert leaders(local_kafka.bootstrap, "probes-uses").keys() == {0}


@pytest.mark.parametrize(
    ("user", "right"),
    [("reads", "Read and Write on the topic"), ("none", "Create, Read and Write on the topic")],
)
def test_without_the_rights_it_is_quiet_unless_probes_are_asked_for(
    local_kafka: KafkaCluster, users: None, tmp_path: Path, user: str, right: str
) -> None:
    rows = [
        as_user(local_kafka, user, enabled=enabled, name=name)
        for name, enabled in (("quiet", None), ("asked", True))
    ]
    with Exporter(tmp_path, rows) as exporter:
        wait_until(lambda: exporter.log().count("probe.not_possible") >= 2, "both to be told")
        failures = {"source": "asked", "task": "probe", "reason": "partial"}
        page = exporter.wait(
            lambda page: (page.value("mq_collect_failures_total", **failures) or 0) >= 3,
            "the problem to be counted in each round",
        )
        log = exporter.log()
    assert page.find("mq_probe_success") == {}
    assert page.value("mq_collect_success", source="quiet", task="probe") == 1
    assert page.value("mq_collect_success", source="asked", task="probe") == 0
    assert log.count("probe.not_possible") == 2
    assert right in log
    for row, code in zip(rows, (None, 1), strict=True):
        printed = run("check", tmp_path, [row])
        mark, detail = printed.findings["probe"]
        assert mark == "missing"
        assert "give the user" in detail
        assert code is None or printed.code == code


# Faults

DEADLINE_SECONDS = 4


@pytest.fixture(scope="module")
def breakable() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture
def watching(breakable: KafkaCluster, tmp_path: Path) -> Iterator[Exporter]:
    """An exporter that has received probes of every broker."""
    row = probing(breakable.bootstrap, "probes", probe={"deadline": f"{DEADLINE_SECONDS}s"})
    with Exporter(tmp_path, [row]) as exporter:
        exporter.wait(
            lambda page: received(page, nodes_of(breakable)) >= 2, "probes of each broker"
        )
        yield exporter


def hold_of_the_others(before: Scrape, page: Scrape, nodes: list[str]) -> None:
    """Check that every probe of these came back in time, and that there were some."""
    for node in nodes:
        seen = counts(page, node)
        assert (seen["lost"], seen["failed"]) == (0, 0), node
        assert seen["sent"] == seen["received"] > counts(before, node)["received"], node


def hold_the_sum(page: Scrape, node: str) -> None:
    seen = counts(page, node)
    assert seen["sent"] == seen["received"] + seen["lost"] + seen["failed"]


def test_a_broker_frozen_for_ten_seconds_is_failed_probes_of_that_node_and_nothing_else(
    breakable: KafkaCluster, watching: Exporter
) -> None:
    node, *others = (breakable.address(broker) for broker in (1, 0, 2))
    before = watching.scrape()
    breakable.pause(1)
    frozen = time.monotonic()
    watching.wait(lambda page: succeeding(page)[node] == 0, "a failed probe of the node")
    page = watching.wait(
        lambda page: (
            time.monotonic() - frozen >= 10
            and counts(page, node)["lost"] + counts(page, node)["failed"] >= 2
        ),
        "more of them",
    )
    assert counts(page, node)["received"] - counts(before, node)["received"] <= 1
    assert {name: succeeding(page)[name] for name in others} == dict.fromkeys(others, 1)
    hold_the_sum(page, node)
    breakable.resume(1)
    page = watching.wait(lambda page: succeeding(page)[node] == 1, "the node's probes again")
    again = counts(page, node)
    page = watching.wait(
        lambda page: counts(page, node)["received"] >= again["received"] + 3, "more of them"
    )
    hold_the_sum(page, node)
    hold_of_the_others(before, page, others)
    assert page.value("mq_collect_success", task="probe") == 1
    times = page.find("mq_probe_latency_seconds_bucket", node=node, stage="receive")
    late = {
        value for labels, value in times.items() if float(dict(labels)["le"]) >= DEADLINE_SECONDS
    }
    assert late == {counts(page, node)["received"]}, "what came late was not received"


def test_a_broker_killed_and_restarted(breakable: KafkaCluster, watching: Exporter) -> None:
    node, *others = (breakable.address(broker) for broker in (2, 0, 1))
    before = watching.scrape()
    breakable.kill(2)
    watching.wait(lambda page: succeeding(page)[node] == 0, "a failed probe of the node")
    breakable.wait_fenced(2)
    fenced = watching.scrape()
    page = watching.wait(
        lambda page: counts(page, node)["failed"] >= counts(fenced, node)["failed"] + 2,
        "failed probes of a broker that is not listed any more",
    )
    hold_the_sum(page, node)
    breakable.restart(2)
    page = watching.wait(lambda page: succeeding(page)[node] == 1, "the node's probes again")
    hold_of_the_others(before, page, others)
    assert leaders(breakable.bootstrap, "probes") == {n: (n, [n]) for n in range(3)}


def test_a_cluster_that_hangs_holds_up_neither_the_probes_nor_the_end(
    breakable: KafkaCluster, watching: Exporter
) -> None:
    nodes = nodes_of(breakable)
    before = watching.scrape()
    for broker in breakable.broker_ids:
        breakable.pause(broker)
    page = watching.wait(
        lambda page: all(
            counts(page, node)["failed"] + counts(page, node)["lost"] >= 2 for node in nodes
        ),
        "failed probes of each",
    )
    assert received(page, nodes) - received(before, nodes) <= 1
    began = time.monotonic()
    end(watching)
    taken = time.monotonic() - began
    for broker in breakable.broker_ids:
        breakable.resume(broker)
    breakable.wait_ready()
    assert taken < 5
