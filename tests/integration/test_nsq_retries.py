"""NSQ messages that fail again and again, and messages that are deferred on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import nsq_data as data
from testbed.consuming import Delivery, Outcome
from testbed.exporter import Exporter, Scrape, nsq_source
from testbed.nsq import NsqCluster
from testbed.nsq_data import NsqConsumer

QUICK: dict[str, Any] = {"schedule": {"backlog": "300ms", "discovery": "1s", "probe": "5s"}}
DELAY_MS = 1_500


@pytest.fixture
def exporter(nsq: NsqCluster, tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(tmp_path, [nsq_source(nsq, **QUICK)], defaults={"rate_window": "4s"}) as exporter:
        exporter.wait(lambda page: page.value("mq_up") == 1, "the source to be up")
        yield exporter


def status(page: Scrape, channel: str) -> str | None:
    """Return the status of the channel."""
    found = page.find("mq_subscription_status", group=channel)
    return next((dict(labels)["status"] for labels, value in found.items() if value == 1), None)


def row(exporter: Exporter, channel: str) -> dict[str, Any]:
    answer = exporter.get(f"/api/v1/subscriptions?group={channel}").json()
    (found,) = answer["subscriptions"]
    return dict(found)


def is_told(row: dict[str, Any]) -> bool:
    """Return whether the row gives the reason: repeats, and nothing processed."""
    evidence = [each["evidence"] for each in row["causes"] if each["cause"] == "retry_loop"]
    return any(
        "of the deliveries are repeats (" in e and ", 0 processed within " in e for e in evidence
    )


def test_a_consumer_that_requeues_everything_with_a_delay(
    nsq: NsqCluster, exporter: Exporter
) -> None:
    url, address = nsq.http_url(), nsq.tcp_address()
    data.create_channel(url, "mail", "send")
    exporter.wait(lambda page: status(page, "send") == "ok", "the channel")
    data.publish_all(url, "mail", [b"v"] * 40)
    works: list[bool] = []

    def outcome(_: Delivery) -> Outcome:
        return "finish" if works else "requeue"

    with NsqConsumer(address, "mail", "send", outcome=outcome, requeue_ms=DELAY_MS) as consumer:
        page = exporter.wait(
            lambda page: (
                status(page, "send") == "retry_loop"
                and page.value("mq_deferred_messages", group="send", partition=node(nsq)) == 40
                and (page.value("mq_redelivered_messages_total", group="send") or 0) >= 3 * 40
            ),
            "the loop, while all are held back",
        )
        assert page.value("mq_lag_messages", group="send", partition=node(nsq)) == 0
        assert page.value("mq_consumed_messages_total", group="send") == 0
        assert page.value("mq_backlog_cause", group="send", cause="retry_loop") == 1
        exporter.wait(lambda _: is_told(row(exporter, "send")), "the evidence")
        works.append(True)
        consumer.wait_processed(40, 120)
        exporter.wait(
            lambda page: (
                status(page, "send") == "ok"
                and page.find("mq_backlog_cause", group="send") == {}
                and page.value("mq_consumed_messages_total", group="send") == 40
            ),
            "its end",
        )


def test_deferred_publishing_and_a_few_requeues_are_no_loop(
    nsq: NsqCluster, exporter: Exporter
) -> None:
    """One message in eight is requeued once; 20 others are published for later."""
    url, address = nsq.http_url(), nsq.tcp_address()
    data.create_channel(url, "dates", "remind")
    exporter.wait(lambda page: status(page, "remind") == "ok", "the channel")
    for _ in range(20):
        data.publish(url, "dates", defer_ms=600_000)
    count = 0

    def outcome(delivery: Delivery) -> Outcome:
        nonlocal count
        count += 1
        return "requeue" if delivery.attempts == 1 and count % 8 == 0 else "finish"

    seen: set[str | None] = set()
    with NsqConsumer(address, "dates", "remind", outcome=outcome, requeue_ms=DELAY_MS):

        def look(page: Scrape) -> bool:
            data.publish_all(url, "dates", [b"v"] * 8)
            seen.add(status(page, "remind"))
            return (page.value("mq_redelivered_messages_total", group="remind") or 0) >= 60

        page = exporter.wait(look, "repeats over more than a window")
    assert page.value("mq_deferred_messages", group="remind", partition=node(nsq)) in range(20, 60)
    assert "ok" in seen
    assert "retry_loop" not in seen
    assert page.find("mq_backlog_cause", group="remind", cause="retry_loop") == {}


def node(nsq: NsqCluster) -> str:
    return nsq.http_url().removeprefix("http://")
