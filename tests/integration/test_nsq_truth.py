"""The metrics of an NSQ installation, compared with what was done to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from testbed import nsq_data as data
from testbed.consuming import Delivery
from testbed.exporter import Exporter, Scrape, nsq_source, settled
from testbed.nsq import NsqCluster
from testbed.nsq_data import NsqConsumer
from testbed.ports import PortBlock
from testbed.waiting import wait_until
from tests.support.site import Site, says

QUICK: dict[str, Any] = {"schedule": {"backlog": "300ms", "discovery": "1s", "probe": "500ms"}}


@pytest.fixture
def exporter(nsq: NsqCluster, tmp_path: Path) -> Iterator[Exporter]:
    with Exporter(tmp_path, [nsq_source(nsq, **QUICK)]) as exporter:
        exporter.wait(lambda page: page.value("mq_up") == 1, "the source to be up")
        yield exporter


def node(nsq: NsqCluster, nsqd: str) -> str:
    """Return the label of a node: its broadcast address and HTTP port."""
    return nsq.http_url(nsqd).removeprefix("http://")


def test_a_channel_at_two_nodes(nsq: NsqCluster, exporter: Exporter) -> None:
    for nsqd in nsq.nsqds:
        data.create_channel(nsq.http_url(nsqd), "orders", "billing")
    exporter.wait(lambda page: len(page.find("mq_lag_messages", group="billing")) == 2, "both")
    data.publish_all(nsq.http_url("nsqd-0"), "orders", [b"abcd"] * 20)
    data.publish_all(nsq.http_url("nsqd-1"), "orders", [b"abcd"] * 5)
    data.publish(nsq.http_url("nsqd-1"), "orders", b"abcd", defer_ms=60_000)
    address = nsq.tcp_address("nsqd-0")
    with NsqConsumer(address, "orders", "billing", rate=0, max_in_flight=7) as consumer:
        consumer.wait_held(7)
        first, second = node(nsq, "nsqd-0"), node(nsq, "nsqd-1")
        page = settled(
            exporter,
            {
                "mq_lag_messages": 20,
                "mq_unacknowledged_messages": 7,
                "mq_deferred_messages": 0,
            },
            partition=first,
        )
        page = settled(
            exporter,
            {"mq_lag_messages": 5, "mq_unacknowledged_messages": 0, "mq_deferred_messages": 1},
            partition=second,
        )
        assert page.value("mq_produced_messages_total", partition=first) == 20
        assert page.value("mq_produced_messages_total", partition=second) == 6
        assert page.value("mq_subscription_produced_messages_total", group="billing") == 26
        assert page.value("mq_consumed_messages_total", group="billing") == 0
        assert page.value("mq_consumers", group="billing") == 1
        assert page.value("mq_message_size_bytes", destination="orders") == 4
        consumer.rate = None
        consumer.wait_processed(20)
        settled(
            exporter,
            {"mq_lag_messages": 0, "mq_lag_seconds": 0, "mq_unacknowledged_messages": 0},
            partition=first,
        )
        page = settled(exporter, {"mq_consumed_messages_total": 20}, group="billing")
        method = page.find("mq_lag_seconds_method", group="billing", method="estimate")
        assert list(method.values()) == [1]
    settled(exporter, {"mq_consumers": 0}, group="billing")


def test_requeues_and_timeouts_are_redeliveries_and_no_production(
    nsq: NsqCluster, exporter: Exporter
) -> None:
    url, address = nsq.http_url(), nsq.tcp_address()
    data.create_channel(url, "poison", "c")
    exporter.wait(lambda page: page.find("mq_redelivered_messages_total"), "the channel")
    data.publish_all(url, "poison", [b"v"] * 3)
    tries: list[int] = []

    def outcome(delivery: Delivery) -> Any:
        tries.append(delivery.attempts)
        return "requeue" if delivery.attempts <= 4 else "finish"

    with NsqConsumer(address, "poison", "c", outcome=outcome) as consumer:
        wait_until(lambda: len(tries) >= 15, "five deliveries of each")
        consumer.wait_processed(15)
    page = settled(
        exporter,
        {
            "mq_redelivered_messages_total": 12,
            "mq_consumed_messages_total": 3,
            "mq_subscription_produced_messages_total": 3,
            "mq_lag_messages": 0,
        },
        group="c",
    )
    assert page.value("mq_produced_messages_total", destination="poison") == 3


def test_a_topic_that_nobody_reads_and_its_first_channel(
    nsq: NsqCluster, exporter: Exporter
) -> None:
    url = nsq.http_url()
    data.create_topic(url, "lonely")
    data.publish_all(url, "lonely", [b"v"] * 9)
    page = settled(
        exporter, {"mq_lag_messages": 9, "mq_unacknowledged_messages": None}, destination="lonely"
    )
    (labels,) = page.find("mq_lag_messages", destination="lonely")
    assert "group" not in dict(labels)
    assert page.value("mq_consumers", destination="lonely") == 0
    data.create_channel(url, "lonely", "first")
    page = exporter.wait(
        lambda page: (
            [
                dict(found).get("group")
                for found in page.find("mq_lag_messages", destination="lonely")
            ]
            == ["first"]
        ),
        "the channel instead",
    )
    assert page.value("mq_lag_messages", destination="lonely") == 9
    assert sum(page.find("mq_subscriptions_lost_total").values()) == 0


def test_a_paused_topic_is_the_lag_of_its_channels(nsq: NsqCluster, exporter: Exporter) -> None:
    url = nsq.http_url()
    for channel in ("a", "b"):
        data.create_channel(url, "held", channel)
    exporter.wait(lambda page: len(page.find("mq_lag_messages", destination="held")) == 2, "both")
    data.pause(url, "held")
    data.publish_all(url, "held", [b"v"] * 4)
    for channel in ("a", "b"):
        settled(
            exporter,
            {"mq_lag_messages": 4, "mq_subscription_produced_messages_total": 4},
            destination="held",
            group=channel,
        )
    rows = exporter.get("/api/v1/subscriptions").json()["subscriptions"]
    assert [row["paused"] for row in rows if row["destination"] == "held"] == [True, True]
    data.unpause(url, "held")
    for channel in ("a", "b"):
        settled(
            exporter,
            {
                "mq_lag_messages": 4,
                "mq_subscription_produced_messages_total": 4,
                "mq_consumed_messages_total": 0,
            },
            destination="held",
            group=channel,
        )


def test_a_restarted_nsqd_counts_on_from_where_it_stood(nsq: NsqCluster, tmp_path: Path) -> None:
    """It is back before two discoveries have missed it, which takes at least 10 s here."""
    schedule = {**QUICK["schedule"], "discovery": "10s"}
    with Exporter(tmp_path, [nsq_source(nsq, schedule=schedule)]) as exporter:
        exporter.wait(lambda page: page.value("mq_up") == 1, "the source to be up")
        _restart_counts_on(nsq, exporter)


def _restart_counts_on(nsq: NsqCluster, exporter: Exporter) -> None:
    url, address = nsq.http_url(), nsq.tcp_address()
    data.create_channel(url, "t", "c")
    exporter.wait(lambda page: page.find("mq_consumed_messages_total", group="c"), "the channel")
    data.publish_all(url, "t", [b"v"] * 10)
    with NsqConsumer(address, "t", "c") as consumer:
        consumer.wait_processed(10)
    data.publish_all(url, "t", [b"v"] * 6)
    wanted: dict[str, float | None] = {
        "mq_lag_messages": 6,
        "mq_subscription_produced_messages_total": 16,
        "mq_consumed_messages_total": 10,
    }
    settled(exporter, wanted, group="c")
    nsq.terminate("nsqd-0")
    exporter.wait(lambda page: page.value("mq_node_up", node=node(nsq, "nsqd-0")) == 0, "down")
    assert exporter.scrape().value("mq_lag_messages", group="c") == 6, "held"
    time.sleep(1)  # nsqd reports its start time in whole seconds
    nsq.restart("nsqd-0")
    exporter.wait(lambda page: page.value("mq_node_up", node=node(nsq, "nsqd-0")) == 1, "up")
    settled(exporter, wanted, group="c")
    data.publish_all(url, "t", [b"v"] * 2)
    settled(
        exporter,
        {**wanted, "mq_lag_messages": 8, "mq_subscription_produced_messages_total": 18},
        group="c",
    )


def test_a_node_that_is_gone_for_good_takes_its_series_with_it(
    nsq: NsqCluster, exporter: Exporter
) -> None:
    url = nsq.http_url("nsqd-1")
    data.create_channel(url, "t", "c")
    data.publish_all(url, "t", [b"v"] * 3)
    settled(exporter, {"mq_lag_messages": 3}, partition=node(nsq, "nsqd-1"))
    nsq.terminate("nsqd-1")  # it unregisters from the nsqlookupds
    exporter.wait(lambda page: page.find("mq_lag_messages", group="c") == {}, "its series to end")
    page = exporter.scrape()
    assert page.value("mq_subscriptions_lost_total", reason="node_gone") == 1
    assert page.value("mq_node_up", node=node(nsq, "nsqd-1")) == 0
    assert page.value("mq_up") == 1


def test_an_nsqd_that_is_taken_out_of_the_config_takes_its_series_with_it(
    nsq: NsqCluster, tmp_path: Path
) -> None:
    """Without nsqlookupds, the config says which nsqds there are. A dead one stays, as down."""
    first, second = node(nsq, "nsqd-0"), node(nsq, "nsqd-1")
    source = {"name": "test", "system": "nsq", **QUICK}
    urls = [nsq.http_url(nsqd) for nsqd in nsq.nsqds]
    with Exporter(tmp_path, [{**source, "nsqd": urls}]) as exporter:
        exporter.wait(
            lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "both probes"
        )
        nsq.kill("nsqd-1")
        exporter.wait(lambda page: page.value("mq_probe_success", node=second) == 0, "its probe")
        failures = {"task": "backlog", "reason": "partial"}
        page = exporter.wait(
            lambda page: (page.value("mq_collect_failures_total", **failures) or 0) >= 4,
            "more looks that miss it",
        )
        assert page.value("mq_node_up", node=second) == 0
        assert page.value("mq_probe_success", node=second) == 0
        exporter.write([{**source, "nsqd": urls[:1]}])
        exporter.hang_up()
        exporter.wait(
            lambda page: not [name for name, labels in page.series if ("node", second) in labels],
            "its series to end",
        )
        exporter.wait(lambda page: page.value("mq_probe_success", node=first) == 1, "the other's")


def test_deleted_topics_and_channels_end(nsq: NsqCluster, exporter: Exporter) -> None:
    url = nsq.http_url()
    data.create_channel(url, "t", "keep")
    data.create_channel(url, "t", "drop")
    data.create_channel(url, "gone", "c")
    data.publish(url, "gone")
    settled(exporter, {"mq_lag_messages": 1}, destination="gone")
    data.delete(url, "t", "drop")
    data.delete(url, "gone")
    page = exporter.wait(
        lambda page: (
            {dict(found).get("group") for found in page.find("mq_lag_messages")} == {"keep"}
        ),
        "the other one only",
    )
    assert page.find("mq_produced_messages_total", destination="gone") == {}
    assert page.value("mq_subscriptions_lost_total", reason="deleted") == 1


def test_nsqlookupds_that_are_gone_or_forgot_everything_delete_nothing(
    nsq: NsqCluster, exporter: Exporter
) -> None:
    url = nsq.http_url()
    data.create_channel(url, "t", "c")
    data.publish_all(url, "t", [b"v"] * 3)
    settled(exporter, {"mq_lag_messages": 3}, group="c")
    nsq.kill("lookupd-0")
    page = exporter.wait(
        lambda page: page.value("mq_collect_success", task="discovery") == 0, "it to be missed"
    )
    failures = page.value("mq_collect_failures_total", task="discovery", reason="partial")
    assert failures is not None
    assert failures >= 1
    nsq.kill("lookupd-1")
    exporter.wait(
        lambda page: (
            (page.value("mq_collect_failures_total", task="discovery", reason="unreachable") or 0)
            >= 2
        ),
        "both to be missed",
    )
    nsq.restart("lookupd-0")
    nsq.restart("lookupd-1")
    exporter.wait(lambda page: page.value("mq_collect_success", task="discovery") == 1, "them")
    page = exporter.cycles(3)
    assert page.value("mq_lag_messages", group="c") == 3
    assert page.value("mq_up") == 1
    assert page.value("mq_node_up", node=node(nsq, "nsqd-0")) == 1


def test_a_killed_nsqd_is_held_then_hidden_and_the_others_go_on(
    nsq: NsqCluster, tmp_path: Path
) -> None:
    source = nsq_source(nsq, **QUICK, hold="3s", deadline="2s")
    for nsqd in nsq.nsqds:
        data.create_channel(nsq.http_url(nsqd), "t", "c")
        data.publish_all(nsq.http_url(nsqd), "t", [b"v"] * 4)
    first, second = node(nsq, "nsqd-0"), node(nsq, "nsqd-1")
    with Exporter(tmp_path, [source]) as exporter:
        settled(exporter, {"mq_lag_messages": 4}, partition=second)
        nsq.pause("nsqd-1")
        page = exporter.wait(lambda page: page.value("mq_node_up", node=second) == 0, "down")
        assert page.value("mq_lag_messages", partition=first) == 4
        assert page.value("mq_up") == 1, "a part of it answers"
        exporter.wait(
            lambda page: page.value("mq_probe_success", node=second) == 0, "its probe to fail"
        )
        assert exporter.scrape().value("mq_probe_success", node=first) == 1
        exporter.wait(
            lambda page: page.value("mq_lag_messages", partition=second) is None, "it to be hidden"
        )
        assert exporter.scrape().value("mq_lag_messages", partition=first) == 4
        nsq.resume("nsqd-1")
        settled(exporter, {"mq_lag_messages": 4, "mq_produced_messages_total": 0}, partition=second)
        exporter.wait(lambda page: page.value("mq_probe_success", node=second) == 1, "its probe")


def test_ephemeral_ones_are_left_out_unless_they_are_wanted(
    nsq: NsqCluster, tmp_path: Path
) -> None:
    url, address = nsq.http_url(), nsq.tcp_address()
    data.create_channel(url, "t", "c")
    with (
        NsqConsumer(address, "t", "e#ephemeral", rate=0, max_in_flight=1),
        Exporter(tmp_path, [nsq_source(nsq, **QUICK)]) as exporter,
    ):
        page = exporter.wait(lambda page: page.find("mq_lag_messages"), "the channel")
        assert {dict(labels)["group"] for labels in page.find("mq_lag_messages")} == {"c"}
        exporter.write([nsq_source(nsq, **QUICK, internals=True)])
        exporter.hang_up()
        page = exporter.wait(
            lambda page: page.value("mq_lag_messages", group="e#ephemeral") == 0, "both"
        )
        assert page.value("mq_consumers", group="e#ephemeral") == 1


def test_what_an_ephemeral_channel_drops_is_not_taken_for_consumed(tmp_path: Path) -> None:
    with NsqCluster(options={"mem-queue-size": "5"}) as nsq:
        url, address = nsq.http_url(), nsq.tcp_address()
        consumer = NsqConsumer(address, "t", "e#ephemeral", rate=0, max_in_flight=1)
        source = nsq_source(nsq, **QUICK, internals=True, destinations={"include": ["t"]})
        with consumer, Exporter(tmp_path, [source]) as exporter:
            exporter.wait(lambda page: page.value("mq_consumers", group="e#ephemeral") == 1, "it")
            exporter.cycles(2)
            data.publish_all(url, "t", [b"v"] * 40)
            consumer.wait_held(1)
            kept = data.channel_stats(url, "t", "e#ephemeral")
            lag = kept["depth"] + kept["in_flight_count"]
            assert lag < 40
            settled(
                exporter,
                {
                    "mq_lag_messages": lag,
                    "mq_messages_lost_total": 40 - lag,
                    "mq_consumed_messages_total": 0,
                },
                group="e#ephemeral",
            )


def test_one_series_a_subscription(nsq: NsqCluster, tmp_path: Path) -> None:
    for nsqd in nsq.nsqds:
        data.create_channel(nsq.http_url(nsqd), "t", "c")
        data.publish_all(nsq.http_url(nsqd), "t", [b"v"] * 4)
    source = nsq_source(nsq, **QUICK, granularity="subscription")
    with Exporter(tmp_path, [source]) as exporter:
        page = settled(
            exporter, {"mq_lag_messages": 8, "mq_produced_messages_total": 0}, destination="t"
        )
        assert all("partition" not in dict(labels) for _, labels in page.series)


def test_percentiles_where_they_are_wanted(tmp_path: Path) -> None:
    with NsqCluster(options={"e2e-processing-latency-percentile": "1.0,0.99"}) as nsq:
        url, address = nsq.http_url(), nsq.tcp_address()
        data.create_channel(url, "t", "c")
        data.publish_all(url, "t", [b"v"] * 30)
        with NsqConsumer(address, "t", "c", rate=10, max_in_flight=1) as consumer:
            consumer.wait_processed(20)
            consumer.rate = 0
            slowest = max(each.processed_at - each.enqueued_at for each in consumer.processed)
            with Exporter(tmp_path, [nsq_source(nsq, **QUICK)]) as exporter:
                # The waiting messages are older than the exporter, so its own history does not
                # include them.
                page = exporter.wait(lambda page: page.find("mq_lag_seconds", group="c"), "an age")
                assert page.find("mq_lag_seconds_method", group="c", method="percentile")
                assert page.value("mq_lag_seconds", group="c") == pytest.approx(slowest, abs=0.3)


def test_probes_are_quick_and_leave_nothing(nsq: NsqCluster, tmp_path: Path) -> None:
    source = nsq_source(nsq, schedule={"backlog": "1s", "discovery": "1s", "probe": "100ms"})
    with Exporter(tmp_path, [source]) as exporter:

        def received(page: Scrape) -> list[float]:
            found = page.find("mq_probe_messages_total", result="received")
            return sorted(found.values())

        page = exporter.wait(
            lambda page: [n >= 40 for n in received(page)] == [True] * 2, "probes", 60
        )
        for nsqd in nsq.nsqds:
            name = node(nsq, nsqd)
            quick = page.value(
                "mq_probe_latency_seconds_bucket", node=name, stage="receive", le="0.025"
            )
            every = page.value("mq_probe_latency_seconds_count", node=name, stage="receive")
            assert quick is not None
            assert every is not None
            assert quick > every / 2, "nsqd's output buffer would hold each back for 250 ms"
            (topic,) = [
                each
                for each in data.stats(nsq.http_url(nsqd))["topics"]
                if each["topic_name"].startswith("mq-lag-exporter-probe")
            ]
            assert topic["depth"] + topic["channels"][0]["depth"] <= 1
        assert page.find("mq_lag_messages") == {}
        exporter.terminate()
    for nsqd in nsq.nsqds:
        wait_until(lambda nsqd=nsqd: data.stats(nsq.http_url(nsqd))["topics"] == [], "nothing left")  # type: ignore[misc]


def test_nsqds_that_want_authentication(tmp_path: Path) -> None:
    """With a secret that the operator's own HTTP server verifies."""
    ports = PortBlock()
    site = Site(ports.take())
    rights = {
        "topic": "mq-lag-exporter-probe.*",
        "channels": [".*"],
        "permissions": ["subscribe", "publish"],
    }
    site.replies["/auth"] = says({"ttl": 60, "identity": "lag", "authorizations": [rights]})
    secret = tmp_path / "secret"
    secret.write_text("the-secret\n")
    with closing(site), NsqCluster(options={"auth-http-address": site.name}) as nsq:
        source = nsq_source(nsq, **QUICK)
        with Exporter(tmp_path, [source]) as exporter:
            exporter.wait(lambda page: page.value("mq_probe_success") == 0, "it to be refused")
            wait_until(lambda: "requires authentication" in exporter.log(), "the reason")
            assert exporter.scrape().value("mq_up") == 1
            exporter.write([{**source, "probe": {"auth_secret_file": str(secret)}}])
            exporter.hang_up()
            exporter.wait(lambda page: page.value("mq_probe_success") == 1, "a probe")
            assert "the-secret" not in exporter.log() + exporter.get("/metrics").text
    ports.release()


def test_a_private_certificate_beside_plain_http(tmp_path: Path) -> None:
    with NsqCluster(tls=True) as nsq:
        source = nsq_source(
            nsq,
            schedule={"backlog": "200ms", "discovery": "200ms", "probe": "1s"},
            nsqd=nsq.http_url(tls=True),
            tls={"ca_file": str(nsq.ca_file)},
        )
        with Exporter(tmp_path, [source]) as exporter:
            exporter.wait(lambda page: page.value("mq_up") == 1, "the source")
            page = exporter.cycles(15)
            failures = page.find("mq_collect_failures_total")
            assert {dict(key)["task"]: n for key, n in failures.items() if n} == {}
            assert len(page.find("mq_node_up")) == 1


def test_tls_and_a_config_of_nsqds_only(tmp_path: Path) -> None:
    with NsqCluster(tls=True, lookupds=0, options={"tls-required": "true"}) as nsq:
        source: dict[str, Any] = {
            "name": "test",
            "system": "nsq",
            "nsqd": nsq.http_url(tls=True),
            "tls": {"ca_file": str(nsq.ca_file)},
            "probe": {"tls": True},
            **QUICK,
        }
        with Exporter(tmp_path, [source]) as exporter:
            exporter.wait(lambda p: list(p.find("mq_probe_success").values()) == [1], "a probe")
            assert exporter.scrape().value("mq_up") == 1
            exporter.write([{**source, "tls": {}}])
            exporter.hang_up()
            page = exporter.wait(lambda page: page.value("mq_up") == 0, "the certificate refused")
            assert page.value("mq_node_up") != 1
        assert "tls.ca_file" in exporter.log()
