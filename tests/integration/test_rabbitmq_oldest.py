"""RabbitMQ 3.10, the oldest version in these tests.

Lag, rates, ages, consumers, streams and probes on a real node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed import rabbit_data as data
from testbed.exporter import Exporter, rabbit_source, settled
from testbed.rabbit_data import QueueKind, RabbitConsumer
from testbed.rabbit_streams import StreamClients
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_runtime import OLDEST
from testbed.waiting import wait_until

QUICK: dict[str, Any] = {
    "schedule": {"backlog": "300ms", "rates": "1s", "latency": "300ms", "probe": "500ms"}
}
KINDS: tuple[QueueKind, ...] = ("classic", "quorum")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RabbitCluster]:
    with RabbitCluster(2, quick_statistics=True, release=OLDEST) as cluster:
        yield cluster


@pytest.fixture
def exporter(
    cluster: RabbitCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    source = rabbit_source(cluster, **QUICK)
    with Exporter(tmp_path_factory.mktemp("oldest"), [source]) as exporter:
        yield exporter


def test_it_is_3_10(cluster: RabbitCluster) -> None:
    assert cluster.api("GET", "overview")["rabbitmq_version"].startswith("3.10.")


def test_lag_counts_ages_consumers_and_probes(cluster: RabbitCluster, exporter: Exporter) -> None:
    url = cluster.amqp_url()
    for kind in KINDS:
        data.declare(url, kind, kind)
        exporter.wait(
            lambda page, kind=kind: (  # type: ignore[misc]
                page.value("mq_produced_messages_total", destination=kind) == 0
            ),
            "the queue's counts",
        )
        data.publish(url, kind, 100)
        settled(
            exporter,
            {"mq_lag_messages": 100, "mq_produced_messages_total": 100, "mq_consumers": 0},
            destination=kind,
        )
        exporter.wait(
            lambda page, kind=kind: (  # type: ignore[misc]
                (page.value("mq_lag_seconds", destination=kind) or 0) > 0
            ),
            "an age",
        )
        with RabbitConsumer(url, kind, prefetch=10) as consumer:
            consumer.wait_processed(100)
            settled(
                exporter,
                {"mq_lag_messages": 0, "mq_consumed_messages_total": 100, "mq_consumers": 1},
                destination=kind,
            )
    page = exporter.wait(
        lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "probes of both nodes"
    )
    assert page.value("mq_up") == 1


def test_a_consumer_of_a_stream_at_next_has_no_lag_and_counts_what_comes(
    cluster: RabbitCluster, exporter: Exporter
) -> None:
    """3.10 reports a lag of the whole stream for it, and does not report stored offsets."""
    with StreamClients(cluster) as clients:
        clients.create("events")
        settled(exporter, {"mq_produced_messages_total": 0}, destination="events")
        clients.publish("events", 132)
        settled(exporter, {"mq_produced_messages_total": 132}, destination="events")
        reader = clients.reader("events", start="next")
        settled(
            exporter,
            {"mq_lag_messages": 0, "mq_consumers": 1, "mq_consumed_messages_total": 0},
            destination="events",
        )
        named = clients.reader("events", "app")
        named.wait_received(132)
        clients.publish("events", 3)
        reader.wait_received(3)
        named.store(100)
        exporter.wait(
            lambda page: page.value("mq_log_end_offset", destination="events") == 136,
            "the stored offset in the stream",
        )
        page = exporter.cycles(2)
        assert set(page.find("mq_lag_messages", destination="events").values()) == {0}
        named.close()
        exporter.wait(
            lambda page: not page.find("mq_consumers", destination="events", group="app"),
            "the consumer that stopped to be gone",
        )
    assert page.value("mq_up") == 1


def test_a_queue_whose_node_is_down_is_unreadable_and_comes_back(
    cluster: RabbitCluster, exporter: Exporter
) -> None:
    url = cluster.amqp_url(node=1)
    data.declare(url, "held")
    data.publish(url, "held", 7)
    settled(exporter, {"mq_lag_messages": 7}, destination="held")
    cluster.kill(1)
    page = exporter.wait(
        lambda page: page.value("mq_node_up", node=cluster.name(1)) == 0, "the node to be down"
    )
    assert page.value("mq_lag_messages", destination="held") == 7
    cluster.restart(1)
    page = exporter.wait(
        lambda page: page.value("mq_node_up", node=cluster.name(1)) == 1, "the node to be back"
    )
    wait_until(lambda: data.ready_count(url, "held") == 7, "the messages", 60)
    page = exporter.cycles(2)
    assert page.value("mq_lag_messages", destination="held") == 7
    lost = page.find("mq_subscriptions_lost_total")
    assert lost
    assert not any(lost.values())
