"""From a real broker to a notification.

With the daemon, a real Prometheus, a real Alertmanager and a receiver.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testbed.alerting import SCALE, Alerting, paced, scaled
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic
from testbed.kafka_load import Feed, Reader
from testbed.nsq import NsqCluster
from testbed.ports import PortBlock
from testbed.waiting import wait_until


def thresholds(scale: float) -> dict[str, Any]:
    """The last line of the table."""
    return {
        "lag_messages": 300,
        "lag_seconds": "2s",
        "stop_seconds": f"{round(300_000 / scale)}ms",
        "probe_seconds": "2s",
    }


SYMPTOMS = {"MqLagHigh", "MqResidenceTimeHigh", "MqConsumeRateLow"}


def alerting_exporter(
    folder: Path,
    sources: list[dict[str, Any]],
    *lines: dict[str, Any],
    scale: float = SCALE,
    scaling: Sequence[dict[str, Any]] = (),
) -> Exporter:
    """An exporter with these lines of thresholds, and the last one; and these lines of scaling."""
    exporter = Exporter(folder, sources, defaults=paced(scale))
    exporter.write(sources, thresholds=[*lines, thresholds(scale)], scaling=list(scaling))
    return exporter


def test_a_slow_consumer_is_told_once_and_a_dead_broker_alone(tmp_path: Path) -> None:
    with KafkaCluster(1) as kafka:
        servers = kafka.bootstrap
        create_topic(servers, "orders", 2, 1)
        with (
            Feed(servers, "orders", 300.0),
            Reader(servers, "billing", "orders") as reader,
            alerting_exporter(tmp_path, [kafka_source(servers, "shop")]) as exporter,
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
            assert slack["title"].endswith(" messages (and 2 more)")
            assert "Likely cause: slow consumers." in slack["text"]
            assert "docs/runbooks/MqLagHigh.md" in slack["text"]
            assert slack["title_link"].startswith("http://localhost:3000/d/mq-subscription?")
            assert told.slack[1]["attachments"][0]["title"].startswith("Resolved: ")

            kafka.kill_all()
            down = alerting.wait(bool, "the broker's death", source="shop")
            exporter.wait(lambda page: not page.find("mq_lag_messages"), "hidden series")
            remembered = f"last_over_time(subscription:mq_moved:timestamp_seconds[{scaled('2m')}])"
            wait_until(lambda: not alerting.query(remembered), "a time that nobody saw")
            kafka.restart_all()
            alerting.wait(
                lambda found: found and found[-1].status == "resolved",
                "the broker's return",
                source="shop",
            )
            exporter.cycles(20, "shop")
            assert "cannot be read" in down[0].alerts[0]["annotations"]["summary"]
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
        alerting_exporter(tmp_path, [kafka_source(servers, "shop")]) as exporter,
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


def test_what_fails_around_the_subscriptions_is_told(
    own_kafka: KafkaCluster, nsq: NsqCluster, tmp_path: Path
) -> None:
    """Series left out, an nsqd that never answers, slow probes, a frozen broker.

    At the end there is no exporter.
    """
    servers = own_kafka.bootstrap
    for number in range(4):
        create_topic(servers, f"t{number}", 3, 3)
        commit_offsets(servers, f"g{number}", {(f"t{number}", 0): 0})
    ports = PortBlock()
    nsqds = [nsq.http_url("nsqd-0"), f"http://127.0.0.1:{ports.take()}"]
    slow = {"destination": "slow-probes"}
    sources = [
        kafka_source(servers, "shop"),
        kafka_source(servers, "small", max_series=80, probe={"enabled": False}),
        kafka_source(servers, "slow", probe=slow),
        {"name": "events", "system": "nsq", "nsqd": nsqds, "probe": {"enabled": False}},
    ]
    line = {"match": {"source": "slow"}, "probe_seconds": "1ms"}
    with (
        alerting_exporter(tmp_path, sources, line) as exporter,
        Alerting(tmp_path, f"127.0.0.1:{exporter.port}") as alerting,
    ):
        for source, alert in (
            ("slow", "MqProbeSlow"),
            ("small", "MqSeriesDropped"),
            ("events", "MqDataStale"),
        ):
            found = alerting.wait(bool, alert, source=source)
            assert found[0].names() == {alert}
        assert not alerting.receiver.of(source="shop")

        own_kafka.pause(2)
        node = alerting.wait(bool, "the frozen broker", source="shop")[0].alerts[0]
        assert node["labels"]["alertname"] == "MqProbeFailing"
        assert node["labels"]["node"] == own_kafka.address(2)
        own_kafka.resume(2)

        exporter.terminate()
        (down,) = alerting.wait(
            lambda found: found and found[-1].names() == {"MqExporterDown"}, "no exporter"
        )[-1:]
        assert down.alerts[0]["annotations"]["summary"] == "No mq-lag-exporter is being scraped"
    ports.release()
