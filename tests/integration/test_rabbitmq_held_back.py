"""Deferred messages of quorum queues: delayed retries, and unconfirmed dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed import rabbit_data as data
from testbed.exporter import Exporter, Scrape, rabbit_source
from testbed.rabbit_data import RabbitConsumer
from testbed.rabbitmq import RabbitCluster

QUICK: dict[str, Any] = {
    "schedule": {"backlog": "300ms", "rates": "1s", "latency": "300ms", "probe": "5s"}
}
SOURCES = ("api", "page")
"""The same node, read by the management API and by the metrics of the Prometheus plugin."""


@pytest.fixture(scope="module")
def exporter(
    rabbitmq: RabbitCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    sources = [
        rabbit_source(rabbitmq, "api", **QUICK),
        rabbit_source(rabbitmq, "page", **QUICK, prometheus_url=rabbitmq.prometheus_url()),
    ]
    folder = tmp_path_factory.mktemp("held-back")
    with Exporter(folder, sources, defaults={"rate_window": "4s"}) as exporter:
        yield exporter


def holds_back(rabbitmq: RabbitCluster) -> bool:
    """Return whether this RabbitMQ has delayed retry (4.3 and later)."""
    version = rabbitmq.api("GET", "overview")["rabbitmq_version"]
    return tuple(map(int, version.split(".")[:2])) >= (4, 3)


def shown(page: Scrape, queue: str) -> dict[str, tuple[float | None, ...]]:
    """Lag, unacknowledged and deferred messages by source."""
    names = ("mq_lag_messages", "mq_unacknowledged_messages", "mq_deferred_messages")
    return {
        source: tuple(page.value(name, source=source, destination=queue) for name in names)
        for source in SOURCES
    }


def wait_shown(exporter: Exporter, queue: str, *numbers: float) -> None:
    wanted = dict.fromkeys(SOURCES, numbers)
    exporter.wait(
        lambda page: shown(page, queue) == wanted,
        f"{queue} to hold {numbers}, not {shown(exporter.scrape(), queue)}",
        60,
    )


def test_dead_letters_without_a_target_are_deferred(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    """With at-least-once dead lettering (3.10 and later) they stay in the queue until confirmed."""
    url, queue = rabbitmq.amqp_url(), "letters"
    strategy = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    data.declare(url, queue, "quorum", dead_letter_to="nowhere", arguments=strategy)
    data.publish(url, queue, 10)
    wait_shown(exporter, queue, 10, 0, 0)
    data.get(url, queue, 4, outcome="reject")
    wait_shown(exporter, queue, 6, 0, 4)
    data.get(url, queue, 6)
    wait_shown(exporter, queue, 0, 0, 4)
    page = exporter.scrape()
    assert [page.value("mq_lag_seconds", source=s, destination=queue) for s in SOURCES] == [0, 0]
    data.delete_queue(url, queue)


def test_messages_that_wait_for_their_next_try(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    """Before 4.3 the arguments have no effect, and a returned message is ready at once."""
    url, queue = rabbitmq.amqp_url(), "tries"
    delay = {"x-delayed-retry-type": "all", "x-delayed-retry-min": 1_000_000}
    data.declare(url, queue, "quorum", arguments={**delay, "x-delayed-retry-max": 1_000_000})
    data.publish(url, queue, 10)
    wait_shown(exporter, queue, 10, 0, 0)
    data.get(url, queue, 4, outcome="requeue")
    held = 4 if holds_back(rabbitmq) else 0
    wait_shown(exporter, queue, 10 - held, 0, held)
    with RabbitConsumer(url, queue, rate=0, prefetch=3) as consumer:
        consumer.wait_held(3)
        wait_shown(exporter, queue, 10 - held, 3, held)
    data.delete_queue(url, queue)


def test_messages_that_fail_again_and_again(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    """With and without delayed retry: a consumer returns every message, and processes none."""
    url, queue = rabbitmq.amqp_url(), "failing"
    arguments = {
        "x-delayed-retry-type": "all",
        **{f"x-delayed-retry-{limit}": 1_500 for limit in ("min", "max")},
        "x-delivery-limit": 1_000_000,
    }
    data.declare(url, queue, "quorum", arguments=arguments)
    exporter.wait(
        lambda page: len(page.find("mq_consumed_messages_total", destination=queue)) == 2,
        "the queue's counts",
    )
    data.publish(url, queue, 20)
    held = holds_back(rabbitmq)
    with RabbitConsumer(url, queue, rate=200.0, prefetch=20, outcome=lambda _: "requeue"):
        exporter.wait(lambda page: is_loop(page, queue, held=held), "the loop")
    page = exporter.scrape()
    assert page.value("mq_consumed_messages_total", source="api", destination=queue) == 0
    data.delete_queue(url, queue)


def is_loop(page: Scrape, queue: str, *, held: bool) -> bool:
    """Return whether both sources report repeated failures, and deferred messages are not lag."""
    causes = page.find("mq_backlog_cause", destination=queue, cause="retry_loop")
    if len(causes) < len(SOURCES):
        return False
    status = page.find("mq_subscription_status", destination=queue, status="retry_loop")
    lag, _, deferred = shown(page, queue)["api"]
    return not held or (sum(status.values()) == len(SOURCES) and lag == 0 and deferred == 20)
