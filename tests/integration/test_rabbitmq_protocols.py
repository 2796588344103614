"""Queues that RabbitMQ does not count: used by AMQP 1.0, or with the rates switched off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import rabbit_data as data
from testbed.amqp import amqp10
from testbed.exporter import Exporter, Scrape, rabbit_source, settled
from testbed.rabbit_data import RabbitConsumer
from testbed.rabbitmq import RabbitCluster
from tests.support.checking import check

SCHEDULE = {"backlog": "300ms", "rates": "1s", "latency": "300ms", "discovery": "1s"}
STOP_SECONDS = 5
UNCOUNTED = {
    "mq_consumed_messages_total": None,
    "mq_consumed_messages_per_second": None,
    "mq_produced_messages_total": None,
    "mq_produced_messages_per_second": None,
    "mq_lag_seconds": None,
}


@pytest.fixture(scope="module")
def exporter(
    rabbitmq: RabbitCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    source = rabbit_source(rabbitmq, schedule=SCHEDULE)
    folder = tmp_path_factory.mktemp("protocols")
    exporter = Exporter(folder, [source], defaults={"rate_window": "1m"})
    exporter.write([source], thresholds=[{"stop_seconds": f"{STOP_SECONDS}s"}])
    with exporter:
        yield exporter


def declare(rabbitmq: RabbitCluster, queue: str) -> None:
    data.declare(rabbitmq.amqp_url(), queue, "quorum")


def row(exporter: Exporter, queue: str) -> dict[str, Any]:
    found = exporter.get(f"/api/v1/subscriptions?destination={queue}").json()["subscriptions"]
    (only,) = found
    return dict(only)


def is_uncounted(exporter: Exporter, queue: str) -> bool:
    return "does not count" in (row(exporter, queue)["status_reason"] or "")


def known(exporter: Exporter, queue: str) -> None:
    exporter.wait(
        lambda page: page.value("mq_consumed_messages_total", destination=queue) == 0, queue
    )


def test_amqp_1_0_both_ways(rabbitmq: RabbitCluster, exporter: Exporter, tmp_path: Path) -> None:
    queue = "amqp10-both"
    declare(rabbitmq, queue)
    with amqp10(rabbitmq, "send", queue, 50), amqp10(rabbitmq, "receive", queue, 20):
        settled(
            exporter,
            {
                "mq_lag_messages": 30,
                "mq_unacknowledged_messages": 1,
                "mq_consumers": 1,
                **UNCOUNTED,
            },
            destination=queue,
        )
        # Nothing moves any more, and it cannot be known whether that is a fault.
        exporter.wait(
            lambda _: row(exporter, queue)["status"] == "unknown" and is_uncounted(exporter, queue),
            "the status to say what is not known",
        )
        finding = check(tmp_path, rabbit_source(rabbitmq)).findings["rates, ages, consumers"]
        assert finding[0] == "missing"
        assert repr(queue) in finding[1]
    # Without consumers nothing is consumed, counted or not.
    exporter.wait(
        lambda page: (
            page.value("mq_consumers", destination=queue) == 0
            and page.value("mq_consumed_messages_total", destination=queue) == 0
        ),
        "the consumption to be known",
    )
    exporter.wait(lambda _: row(exporter, queue)["status"] == "stopped", "the queue to be stopped")


def test_a_moving_backlog_has_a_lower_bound(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    queue = "amqp10-bound"
    declare(rabbitmq, queue)

    def bound(page: Scrape) -> float:
        return page.value("mq_consumed_messages_per_second_lower_bound", destination=queue) or 0

    with amqp10(rabbitmq, "send", queue, 60), amqp10(rabbitmq, "receive", queue, 1):
        settled(exporter, {"mq_lag_messages": 59, **UNCOUNTED}, destination=queue)
        exporter.wait(lambda _: is_uncounted(exporter, queue), "the counts to be read")
        began = time.monotonic()
        with amqp10(rabbitmq, "receive", queue, 40):
            page = exporter.wait(
                lambda page: (
                    bound(page) > 0 and page.value("mq_lag_messages", destination=queue) == 19
                ),
                "the bound",
            )
            # 40 messages left since then; the test does not know the time of the poll before.
            assert bound(page) * (time.monotonic() - began) < 4 * 40
            assert row(exporter, queue)["consumed_messages_per_second_at_least"] > 0


def test_published_by_0_9_1_and_consumed_by_1_0(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    queue = "amqp10-out"
    declare(rabbitmq, queue)
    known(exporter, queue)
    data.publish(rabbitmq.amqp_url(), queue, 50)
    settled(exporter, {"mq_produced_messages_total": 50, "mq_lag_messages": 50}, destination=queue)
    with amqp10(rabbitmq, "receive", queue, 20):
        settled(
            exporter,
            {
                "mq_lag_messages": 30,
                "mq_consumers": 1,
                "mq_produced_messages_total": 50,
                "mq_consumed_messages_total": None,
                "mq_consumed_messages_per_second": None,
            },
            destination=queue,
        )
        # If RabbitMQ counts the messages after some have left, the age is unknown at first.
        exporter.wait(
            lambda page: (page.value("mq_lag_seconds", destination=queue) or 0) > 0, "the age"
        )


def test_published_by_1_0_and_consumed_by_0_9_1(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    queue = "amqp10-in"
    declare(rabbitmq, queue)
    known(exporter, queue)
    with amqp10(rabbitmq, "send", queue, 50):
        settled(exporter, {"mq_lag_messages": 50}, destination=queue)
        with data.channel(rabbitmq.amqp_url()) as channel:
            for _ in range(50):
                method, _, _ = channel.basic_get(queue, auto_ack=True)
                assert method is not None
        settled(
            exporter,
            {
                "mq_lag_messages": 0,
                "mq_consumed_messages_total": 50,
                "mq_produced_messages_total": 50,
            },
            destination=queue,
        )


def test_rates_that_are_switched_off(tmp_path: Path) -> None:
    settings = {"management.rates_mode": "none"}
    with RabbitCluster(quick_statistics=True, settings=settings) as cluster:
        url, queue = cluster.amqp_url(), "uncounted"
        data.declare(url, queue)
        source = rabbit_source(cluster, schedule=SCHEDULE)
        with Exporter(tmp_path, [source]) as exporter:
            with RabbitConsumer(url, queue, rate=0, prefetch=8) as consumer:
                data.publish(url, queue, 50)
                consumer.wait_held(8)
                settled(
                    exporter,
                    {"mq_lag_messages": 50, "mq_consumers": 1, **UNCOUNTED},
                    destination=queue,
                )
            assert '"feature": "rates and ages"' in exporter.log()
            finding = check(tmp_path, source).findings["rates, ages, consumers"]
            assert finding[0] == "missing"
            assert "rates_mode" in finding[1]
