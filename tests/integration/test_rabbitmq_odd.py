"""RabbitMQ 4 with unusual settings: the numbers are right, or the exporter names missing ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pika.exceptions import AMQPError

from testbed import rabbit_data as data
from testbed.exporter import Exporter, Scrape, rabbit_source, settled
from testbed.rabbit_data import QueueKind, RabbitConsumer
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until
from tests.support.checking import check

QUICK: dict[str, Any] = {
    "schedule": {"backlog": "300ms", "rates": "1s", "latency": "300ms", "probe": "1s"}
}
DENIED = "deprecated_features.permit"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RabbitCluster]:
    """One node that refuses transient queues and looks for late consumers every second."""
    settings = {f"{DENIED}.transient_nonexcl_queues": "false"}
    tick = {"channel_tick_interval": "1000"}
    with RabbitCluster(settings=settings, rabbit=tick, quick_statistics=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def exporter(
    cluster: RabbitCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    folder = tmp_path_factory.mktemp("odd")
    with Exporter(folder, [rabbit_source(cluster, **QUICK)]) as exporter:
        yield exporter


def known(exporter: Exporter, queue: str, vhost: str = "/") -> None:
    """Wait until the queue's counts are known: messages that move from now on are counted."""
    exporter.wait(
        lambda page: page.find("mq_consumed_messages_total", destination=queue, vhost=vhost),
        f"{queue}",
        40,
    )


def test_transient_queues_are_refused_and_durable_ones_go_on(
    cluster: RabbitCluster, exporter: Exporter
) -> None:
    url = cluster.amqp_url()
    with pytest.raises(AMQPError):
        data.declare(url, "transient", durable=False)
    data.declare(url, "durable")
    data.publish(url, "durable", 3)
    page = settled(exporter, {"mq_lag_messages": 3}, destination="durable")
    assert page.find("mq_lag_messages", destination="transient") == {}
    exporter.wait(lambda page: page.value("mq_probe_success") == 1, "the probe, which is exclusive")


def test_a_quorum_queue_drops_after_twenty_tries(
    cluster: RabbitCluster, exporter: Exporter
) -> None:
    """No limit is set: since 4.0 the default is 20. Dropped messages were not consumed."""
    url, queue = cluster.amqp_url(), "twenty"
    data.declare(url, queue, "quorum")
    known(exporter, queue)
    data.publish(url, queue, 2)
    with RabbitConsumer(url, queue, outcome=lambda _: "requeue"):
        settled(
            exporter,
            {
                "mq_lag_messages": 0,
                "mq_consumed_messages_total": 0,
                "mq_produced_messages_total": 2,
                "mq_redelivered_messages_total": 2 * 20,
            },
            destination=queue,
        )


def test_priorities_of_a_quorum_queue(cluster: RabbitCluster, exporter: Exporter) -> None:
    url, queue = cluster.amqp_url(), "urgent"
    data.declare(url, queue, "quorum")
    known(exporter, queue)
    for priority in (1, 9):
        data.publish(url, queue, 10, priority=priority)
    settled(exporter, {"mq_lag_messages": 20, "mq_deferred_messages": 0}, destination=queue)
    with RabbitConsumer(url, queue, rate=0, prefetch=5) as consumer:
        consumer.wait_held(5)
        settled(
            exporter,
            {"mq_lag_messages": 20, "mq_unacknowledged_messages": 5},
            destination=queue,
        )
        consumer.rate = None
        consumer.wait_processed(20)
    settled(
        exporter,
        {
            "mq_lag_messages": 0,
            "mq_consumed_messages_total": 20,
            "mq_produced_messages_total": 20,
            "mq_lag_seconds": 0,
        },
        destination=queue,
    )


def test_a_policy_and_a_vhost_s_default_type(cluster: RabbitCluster, exporter: Exporter) -> None:
    """A queue declared without a type is a quorum queue here; the policy limits it later."""
    cluster.add_vhost("typed")
    cluster.api("PUT", "vhosts/typed", {"default_queue_type": "quorum"})
    url, queue = cluster.amqp_url(vhost="typed"), "limited"
    data.declare(url, queue)
    known(exporter, queue, "typed")
    data.publish(url, queue, 9)
    settled(exporter, {"mq_lag_messages": 9, "mq_deferred_messages": 0}, destination=queue)
    policy = {
        "pattern": "^limited$",
        "definition": {"max-length": 4, "delivery-limit": 3},
        "apply-to": "quorum_queues",
    }
    cluster.api("PUT", "policies/typed/short", policy)
    data.publish(url, queue, 1)
    settled(
        exporter,
        {
            "mq_lag_messages": 4,
            "mq_produced_messages_total": 10,
            "mq_consumed_messages_total": 0,
        },
        destination=queue,
    )
    assert cluster.api("GET", "queues/typed/limited")["type"] == "quorum"
    cluster.delete_vhost("typed")


def test_a_consumer_that_is_too_slow_for_the_broker(
    cluster: RabbitCluster, exporter: Exporter
) -> None:
    """The broker closes its channel, and its messages wait again."""
    url, queue = cluster.amqp_url(), "late"
    data.declare(url, queue, arguments={"x-consumer-timeout": 2_000})
    known(exporter, queue)
    data.publish(url, queue, 6)
    with data.channel(url) as ch:
        ch.basic_qos(prefetch_count=4)
        ch.basic_consume(queue, lambda *_: None)
        settled(
            exporter,
            {"mq_lag_messages": 6, "mq_unacknowledged_messages": 4, "mq_consumers": 1},
            destination=queue,
        )

        def is_closed() -> bool:
            try:
                ch.connection.process_data_events(time_limit=0.2)
            except AMQPError:
                return True
            return bool(ch.is_closed)

        wait_until(is_closed, "the broker to lose its patience")
        settled(
            exporter,
            {
                "mq_lag_messages": 6,
                "mq_unacknowledged_messages": 0,
                "mq_consumers": 0,
                "mq_consumed_messages_total": 0,
            },
            destination=queue,
        )


def test_statistics_that_are_not_permitted(tmp_path: Path) -> None:
    """Lag is shown, what needs statistics is absent, and the key that disables them is named."""
    settings = {f"{DENIED}.management_metrics_collection": "false"}
    with RabbitCluster(settings=settings) as cluster:
        url, source = cluster.amqp_url(), rabbit_source(cluster, **QUICK)
        data.declare(url, "q")
        data.publish(url, "q", 4)
        with Exporter(tmp_path, [source]) as exporter:
            settled(exporter, {"mq_lag_messages": 4}, destination="q")
            key = f"{DENIED}.management_metrics_collection = false"
            wait_until(lambda: key in exporter.log(), "the key in the log")
            page = exporter.cycles(2)
            for name in ("mq_consumed_messages_total", "mq_lag_seconds", "mq_consumers"):
                assert page.find(name, destination="q") == {}
            assert page.value("mq_collect_success", task="backlog") == 1
        assert key in check(tmp_path, source).printed


def test_feature_flags_are_off_then_on_and_khepri_is_the_store(tmp_path: Path) -> None:
    """As after an upgrade, when somebody enables the flags while the exporter runs."""
    off = {"forced_feature_flags_on_init": "[]"}
    with RabbitCluster(quick_statistics=True, rabbit=off) as cluster:
        assert "disabled" in {state for state, _ in flags(cluster).values()}
        with Exporter(tmp_path, [rabbit_source(cluster, **QUICK)]) as exporter:
            works_through(cluster, exporter, "before", 8)
            exporter.wait(lambda page: page.value("mq_probe_success") == 1, "a probe")
            cluster.ctl("enable_feature_flag", "all")
            cluster.ctl("enable_feature_flag", "--experimental", "khepri_db")
            assert flags(cluster)["khepri_db"][0] == "enabled"
            works_through(cluster, exporter, "after", 5)
            page = exporter.cycles(2)
            assert page.value("mq_consumed_messages_total", destination="before-quorum") == 8
            assert page.value("mq_collect_success", task="backlog") == 1


def flags(cluster: RabbitCluster) -> dict[str, tuple[str, str]]:
    """Return the state and the stability of each feature flag."""
    found = cluster.api("GET", "feature-flags")
    return {flag["name"]: (flag["state"], flag["stability"]) for flag in found}


def works_through(cluster: RabbitCluster, exporter: Exporter, name: str, count: int) -> None:
    """Publish and process messages of a classic and of a quorum queue."""
    url = cluster.amqp_url()
    kinds: tuple[QueueKind, ...] = ("classic", "quorum")
    for kind in kinds:
        queue = f"{name}-{kind}"
        data.declare(url, queue, kind)
        known(exporter, queue)
        data.publish(url, queue, count)
        settled(exporter, {"mq_lag_messages": count}, destination=queue)
        with RabbitConsumer(url, queue) as consumer:
            consumer.wait_processed(count)
            settled(
                exporter,
                {
                    "mq_lag_messages": 0,
                    "mq_produced_messages_total": count,
                    "mq_consumed_messages_total": count,
                    "mq_consumers": 1,
                },
                destination=queue,
            )


def test_two_of_three_nodes_are_killed(tmp_path: Path) -> None:
    """A quorum queue without a majority keeps its values: it is never empty and never deleted.

    All other queues are read as usual.
    """
    with RabbitCluster(3, quick_statistics=True) as cluster:
        url = cluster.amqp_url()
        data.declare(url, "majority", "quorum")
        data.declare(url, "alone")
        data.publish(url, "majority", 12)
        data.publish(url, "alone", 5)
        with Exporter(tmp_path, [rabbit_source(cluster, **QUICK)]) as exporter:
            both = {"majority": 12.0, "alone": 5.0}
            exporter.wait(lambda page: lags(page) == both, "both queues")
            majority = "queues/%2F/majority"
            wait_until(
                lambda: len(cluster.api("GET", majority)["online"]) == len(cluster.nodes),
                "all members",
            )
            for node in (1, 2):
                cluster.kill(node)
            for node in (1, 2):
                exporter.wait(
                    lambda page, node=node: page.value("mq_node_up", node=cluster.name(node)) == 0,  # type: ignore[misc]
                    "the nodes to be down",
                )
            data.publish(url, "alone", 2)
            exporter.wait(lambda page: lags(page)["alone"] == 7, "the queue that is left")
            for _ in range(5):
                assert lags(exporter.cycles(1)) == {"majority": 12, "alone": 7}
            cluster.restart_all()
            data.publish(url, "majority", 1)
            exporter.wait(lambda page: lags(page) == {"majority": 13, "alone": 7}, "both again")
            lost = exporter.scrape().find("mq_subscriptions_lost_total")
            assert not any(lost.values())


def lags(page: Scrape) -> dict[str, float]:
    found = page.find("mq_lag_messages")
    return {dict(labels)["destination"]: lag for labels, lag in found.items()}
