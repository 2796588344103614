"""From a real broker to a notification: the daemon, a real Prometheus, a real Alertmanager, and a receiver."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from tests.support.alerting import Alerting
from tests.support.exporter import Exporter, Scrape, kafka_source
from tests.support.kafka import KafkaCluster
from tests.support.kafka_data import create_topic
from tests.support.kafka_load import Feed, Reader

DEFAULTS: dict[str, Any] = {
    "schedule": {
        "backlog": "1s",
        "consumers": "1s",
        "discovery": "2s",
        "rates": "1s",
        "latency": "1s",
        "probe": "1s",
    },
    "deadline": "2s",
    "rate_window": "6s",
    "hold": "6s",
}
"""A twentieth of what is usual, as the rules."""
THRESHOLDS: list[dict[str, Any]] = [
    {"lag_messages": 300, "lag_seconds": "2s", "stop_seconds": "15s", "probe_seconds": "2s"}
]
SYMPTOMS = {"MqLagHigh", "MqResidenceTimeHigh", "MqConsumeRateLow"}


def alerting_exporter(
    folder: Path, sources: list[dict[str, Any]], thresholds: list[dict[str, Any]]
) -> Exporter:
    exporter = Exporter(folder, sources, defaults=DEFAULTS)
    exporter.write(sources, thresholds=thresholds)
    return exporter


def test_a_slow_consumer_is_told_once_and_a_dead_broker_alone(tmp_path: Path) -> None:
    with KafkaCluster(1) as kafka:
        servers = kafka.bootstrap
        create_topic(servers, "orders", 2, 1)
        with (
            Feed(servers, "orders", 300.0),
            Reader(servers, "billing", "orders") as reader,
            alerting_exporter(tmp_path, [kafka_source(servers, "shop")], THRESHOLDS) as exporter,
            Alerting(tmp_path, f"127.0.0.1:{exporter.port}") as alerting,
        ):
            told = alerting.receiver
            exporter.wait(
                lambda page: (
                    page.value("mq_subscription_status", group="billing", status="ok")
                    and page.value("mq_consumed_messages_per_second", group="billing")
                ),
                "a healthy group",
            )
            exporter.cycles(20, "shop")
            assert told.notifications == []

            reader.rate = 50.0
            alerting.wait(
                lambda found: found and found[-1].names() >= SYMPTOMS,
                "the three symptoms",
                source="shop",
                group="billing",
            )
            (slow,) = told.notifications
            assert slow.names() == SYMPTOMS
            for alert in slow.alerts:
                assert alert["annotations"]["summary"].startswith("billing on orders (shop): ")
                assert "Likely cause: slow consumers." in alert["annotations"]["description"]
            (row,) = exporter.get("/api/v1/subscriptions").json()["subscriptions"]
            assert row["status"] == "lagging"
            assert row["causes"][0]["cause"] == "slow_consumers"
            assert row["causes"][0]["evidence"].startswith("each consumer processes ")

            reader.rate = None
            ended = alerting.wait(
                lambda found: found[-1].status == "resolved",
                "the end",
                source="shop",
                group="billing",
            )
            assert len(ended) == 2
            assert ended[-1].names("resolved") == SYMPTOMS
            slack = told.slack[0]["attachments"][0]
            assert slack["title"].startswith("billing on orders (shop): ")
            assert slack["title"].endswith(" (and 2 more)")
            assert "Likely cause: slow consumers." in slack["text"]
            assert "docs/runbooks/MqLagHigh.md" in slack["text"]
            assert slack["title_link"].startswith("http://localhost:3000/d/mq-subscription?")
            assert told.slack[1]["attachments"][0]["title"].startswith("Resolved: ")

            kafka.kill_all()
            down = alerting.wait(bool, "the broker's death", source="shop")
            exporter.wait(lambda page: not page.find("mq_lag_messages"), "hidden series")
            kafka.restart_all()
            alerting.wait(
                lambda found: found and found[-1].status == "resolved",
                "the broker's return",
                source="shop",
            )
            exporter.cycles(20, "shop")
            assert "can't be read" in down[0].alerts[0]["annotations"]["summary"]
            since = told.notifications[2:]
            assert {name for each in since for name in each.names() | each.names("resolved")} == {
                "MqSourceDown"
            }


def test_a_backlog_drains_when_the_forecast_said(own_kafka: KafkaCluster, tmp_path: Path) -> None:
    """6,000 messages, 50 a second more, 200 a second processed: 40 s."""
    servers = own_kafka.bootstrap
    create_topic(servers, "orders", 2, 1)
    with (
        Feed(servers, "orders", 50.0) as feed,
        Reader(servers, "billing", "orders", 200.0) as reader,
        alerting_exporter(tmp_path, [kafka_source(servers, "shop")], THRESHOLDS) as exporter,
    ):
        exporter.wait(
            lambda page: page.value("mq_time_to_drain_seconds", group="billing") is not None,
            "a forecast",
        )
        feed.send(6_000)
        forecasts: list[tuple[float, float]] = []

        def is_drained(page: Scrape) -> bool:
            seconds = page.value("mq_time_to_drain_seconds", group="billing")
            lag = sum(page.find("mq_lag_messages", group="billing").values())
            if seconds is not None:
                forecasts.append((time.monotonic(), seconds))
            return len(forecasts) > 20 and lag < 100

        exporter.wait(is_drained, "the backlog to be gone")
        ended = time.monotonic()
        assert reader.done > 6_000
    steady = [(at, seconds) for at, seconds in forecasts if ended - 30 < at < ended - 8]
    off = [abs(at + seconds - ended) / (ended - at) for at, seconds in steady]
    print(f"off by {statistics.mean(off):.0%} on average, {max(off):.0%} at most")  # noqa: T201
    assert statistics.median(off) < 0.3
