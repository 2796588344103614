"""One daemon for all three systems: the same metrics, with the same meaning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from testbed import nsq_data, rabbit_data
from testbed.exporter import Exporter, Scrape, kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic, produce
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of
from tests.support.checking import check

SYSTEMS = ("kafka", "rabbitmq", "nsq")
EVERYWHERE = (
    "mq_lag_messages",
    "mq_lag_seconds",
    "mq_lag_seconds_method",
    "mq_produced_messages_total",
    "mq_subscription_produced_messages_total",
    "mq_consumed_messages_total",
    "mq_produced_messages_per_second",
    "mq_consumed_messages_per_second",
    "mq_consumers",
    "mq_commit_interval_seconds",
    "mq_probe_success",
    "mq_probe_latency_seconds_bucket",
    "mq_node_up",
    "mq_up",
    "mq_series",
    "mq_collector_restarts_total",
)
"""What each system shows."""


SPECIAL = {"paused", "redelivered_messages", "deferred_messages", "rebalanced_at"}
"""Keys that only some systems have."""


@pytest.fixture
def name() -> str:
    """The name of a topic, a queue or a channel that no other test has."""
    return f"all-{uuid4().hex}"


@pytest.fixture
def sources(
    local_kafka: KafkaCluster, rabbitmq: RabbitCluster, nsq: NsqCluster, name: str
) -> list[dict[str, Any]]:
    """A queue, a channel and a group, each with a lag of three."""
    create_topic(local_kafka.bootstrap, name, 1, 3)
    produce(local_kafka.bootstrap, name, 0, 5)
    commit_offsets(local_kafka.bootstrap, name, {(name, 0): 2})
    rabbit_data.declare(rabbitmq.amqp_url(), name)
    rabbit_data.publish(rabbitmq.amqp_url(), name, 3)
    nsq_data.create_channel(nsq.http_url(), name, name)
    nsq_data.publish_all(nsq.http_url(), name, [b"v"] * 3)
    quick = {
        "schedule": dict.fromkeys(("backlog", "latency", "rates", "probe"), "500ms"),
        "destinations": {"include": [name]},
    }
    groups = {"groups": {"include": [name]}}
    return [
        kafka_source(local_kafka.bootstrap, "kafka", **quick, **groups),
        rabbit_source(rabbitmq, "rabbitmq", **quick),
        nsq_source(nsq, "nsq", **quick),
    ]


@pytest.fixture
def exporter(sources: list[dict[str, Any]], tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(tmp_path, sources) as exporter:
        exporter.wait(lambda page: lags(page) == dict.fromkeys(SYSTEMS, 3), "all three")
        yield exporter


def lags(page: Scrape) -> dict[str, float]:
    return {dict(key)["system"]: lag for key, lag in page.find("mq_lag_messages").items()}


def systems_of(page: Scrape, metric: str) -> set[str]:
    return {dict(labels)["system"] for labels in page.find(metric)}


def test_each_system_has_the_same_metrics(
    exporter: Exporter, rabbitmq: RabbitCluster, nsq: NsqCluster, name: str
) -> None:
    # Messages older than the exporter have an age on Kafka only; new ones have an age everywhere.
    rabbit_data.get(rabbitmq.amqp_url(), name, 3)
    exporter.wait(lambda page: lags(page)["rabbitmq"] == 0, "an empty queue")
    nsq_data.empty(nsq.http_url(), name, name)
    exporter.wait(lambda page: lags(page)["nsq"] == 0, "an empty channel")
    rabbit_data.publish(rabbitmq.amqp_url(), name, 2)
    nsq_data.publish_all(nsq.http_url(), name, [b"v"] * 2)
    page = exporter.wait(
        lambda page: all(systems_of(page, metric) == set(SYSTEMS) for metric in EVERYWHERE),
        "every metric of every system",
    )
    assert systems_of(page, "mq_unacknowledged_messages") == {"rabbitmq", "nsq"}


def test_promtool_has_nothing_to_say_about_the_page(exporter: Exporter) -> None:
    page = exporter.get("/metrics", Accept="text/plain").content
    answer = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, b"")


def test_the_json_and_the_table_show_them_side_by_side(exporter: Exporter, name: str) -> None:
    answer = exporter.get("/api/v1/subscriptions?partitions=true").json()
    rows = {row["system"]: row for row in answer["subscriptions"]}
    assert {system: row["lag_messages"] for system, row in rows.items()} == dict.fromkeys(
        SYSTEMS, 3
    )
    assert {row["vhost"] for row in rows.values()} == {None, "/"}
    assert len({frozenset(row) - SPECIAL for row in rows.values()}) == 1
    assert '<script type="module" src="page.js">' in exporter.get("/").text
    assert "api/v1/subscriptions" in exporter.get("/asking.js").text
    line = [sys.executable, "-m", "exporter", "top", exporter.url, "--looks", "1"]
    table = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert sorted(row.split()[0] for row in table.splitlines() if name[:6] in row) == sorted(
        SYSTEMS
    )


def test_a_source_that_changes_leaves_the_others_alone(
    exporter: Exporter, sources: list[dict[str, Any]]
) -> None:
    before = exporter.scrape().find("mq_produced_messages_total", system="nsq")
    changed = [{**source} for source in sources[1:]]
    changed[0]["destinations"] = {"exclude": [".*"]}
    exporter.write(changed)
    exporter.hang_up()
    page = exporter.wait(lambda page: lags(page) == {"nsq": 3}, "what is left")
    assert page.find("mq_up", system="kafka") == {}
    assert sum(page.find("mq_subscriptions_lost_total").values()) == 0
    assert page.find("mq_produced_messages_total", system="nsq") == before
    exporter.write(sources)
    exporter.hang_up()
    exporter.wait(lambda page: lags(page) == dict.fromkeys(SYSTEMS, 3), "all of them again")


def test_check_says_what_each_can_serve(
    sources: list[dict[str, Any]], rabbitmq: RabbitCluster, tmp_path: Path
) -> None:
    rabbitmq.add_user("untagged", tags="management")
    rabbitmq.allow("untagged", "/", configure="^$", write="^$", read="^$")
    less = {**sources[1], "name": "less", "username": "untagged"}
    less["password"] = password_of("untagged")
    done = check(tmp_path, *sources, less)
    said = done.printed
    assert done.code == 0, said
    for wanted in (
        "ok      connection: RabbitMQ 4.",
        "ok      rates, ages, consumers: 1 queues ",
        "ok      nodes and alarms: 1 nodes",
        "ok      connection: 2 nsqds",
        "end to end in ",
        "missing nodes and alarms: ",
        "give the user the tag monitoring",
        "missing probe (127.0.0.1:",
        "configure ^NAME",
    ):
        assert wanted in said, said
    assert "secret" not in said + done.errors
