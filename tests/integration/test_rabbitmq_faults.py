"""The metrics while RabbitMQ nodes die, hang and come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import rabbit_data as data
from testbed.exporter import Exporter, Scrape, rabbit_source
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until
from tests.support.checking import check

QUICK: dict[str, Any] = {
    "schedule": {
        "backlog": "500ms",
        "rates": "1s",
        "latency": "1s",
        "discovery": "2s",
        "probe": "500ms",
    },
    "deadline": "4s",
    "probe": {"deadline": "2s"},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RabbitCluster]:
    """Two nodes; each test leaves them running."""
    with RabbitCluster(2, quick_statistics=True) as cluster:
        for node in cluster.nodes:
            data.declare(cluster.amqp_url(node=node), f"on-{node}")
            data.publish(cluster.amqp_url(node=node), f"on-{node}", 7)
        yield cluster


def lags(page: Scrape) -> dict[str, float]:
    found = page.find("mq_lag_messages")
    return {dict(labels)["destination"]: lag for labels, lag in found.items()}


BOTH = {"on-0": 7, "on-1": 7}


def amqp(cluster: RabbitCluster, node: int) -> str:
    return f"127.0.0.1:{cluster.port('amqp', node)}"


def test_pages_that_do_not_cover_all_nodes(cluster: RabbitCluster, tmp_path: Path) -> None:
    source = rabbit_source(cluster, **QUICK, prometheus_url=cluster.prometheus_url(node=0))
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(
            lambda page: (
                lags(page) == BOTH
                and page.value("mq_collect_failures_total", task="backlog", reason="partial")
            ),
            "both queues, and the failure",
        )
        data.publish(cluster.amqp_url(node=1), "on-1", 2)
        exporter.wait(lambda page: lags(page) == {"on-0": 7, "on-1": 9}, "the backlog to grow")
        wait_until(lambda: "the URL of every node" in exporter.log(), "the log")
        finding = check(tmp_path, source).findings["backlog of every queue"]
        assert finding[0] == "missing"
        assert "'on-1'" in finding[1]
        data.purge(cluster.amqp_url(node=1), "on-1")
        data.publish(cluster.amqp_url(node=1), "on-1", 7)
    both = [cluster.prometheus_url(node=node) for node in cluster.nodes]
    whole = rabbit_source(cluster, **QUICK, prometheus_url=both)
    assert "backlog of every queue" not in check(tmp_path, whole).findings


def test_no_age_is_wrong_behind_a_restart_of_the_queue_s_node(
    cluster: RabbitCluster, tmp_path: Path
) -> None:
    url, queue = cluster.amqp_url(node=1), "renewed"
    data.declare(url, queue)

    def age(page: Scrape) -> float | None:
        return page.value("mq_lag_seconds", destination=queue)

    with Exporter(tmp_path, [rabbit_source(cluster, **QUICK)]) as exporter:
        exporter.wait(
            lambda page: page.value("mq_produced_messages_total", destination=queue) == 0,
            "the queue's counts",
        )
        data.publish(url, queue, 100)
        exporter.wait(lambda page: (age(page) or 0) > 3, "an age")
        cluster.kill(1)
        exporter.wait(lambda page: (age(page) or 0) > 30, "the age to grow while nobody can read")
        cluster.restart(1)
        data.purge(url, queue)
        renewed = time.time()
        data.publish(url, queue, 50)
        exporter.wait(
            lambda page: page.value("mq_lag_messages", destination=queue) == 50, "the new messages"
        )

        def known_again() -> bool:
            nonlocal renewed
            found = age(exporter.scrape())
            if found:
                assert found <= time.time() - renewed + 8
                return True
            if time.time() - renewed > 10:  # messages that were there at the return have left
                data.purge(url, queue)
                renewed = time.time()
                data.publish(url, queue, 1)
            return False

        try:
            wait_until(known_again, "an age again", 180, poll_seconds=0.2)
        finally:
            data.delete_queue(url, queue)


def test_a_killed_node_and_the_one_that_is_left(cluster: RabbitCluster, tmp_path: Path) -> None:
    """The dead node's management API is the first in the config: the other one is used instead."""
    source = rabbit_source(cluster, **QUICK, hold="6s")
    source["management_url"] = [cluster.management_url(1), cluster.management_url(0)]
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(lambda page: lags(page) == BOTH, "both queues")
        exporter.wait(lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "probes")
        exporter.cycles(4)
        produced = exporter.scrape().find("mq_produced_messages_total")
        cluster.kill(1)
        page = exporter.wait(
            lambda page: page.value("mq_node_up", node=cluster.name(1)) == 0, "the node to be down"
        )
        assert page.value("mq_node_up", node=cluster.name(0)) == 1
        assert page.value("mq_up") == 1
        exporter.wait(
            lambda page: page.value("mq_probe_success", node=amqp(cluster, 1)) == 0, "its probe"
        )
        assert exporter.scrape().value("mq_probe_success", node=amqp(cluster, 0)) == 1
        page = exporter.wait(lambda page: lags(page) == {"on-0": 7}, "its queue to be hidden")
        assert page.value("mq_subscriptions_lost_total", reason="deleted") == 0
        cluster.restart(1)
        exporter.wait(lambda page: lags(page) == BOTH, "both queues again")
        exporter.wait(
            lambda page: page.value("mq_node_up", node=cluster.name(1)) == 1, "the node to be up"
        )
        page = exporter.wait(
            lambda page: page.value("mq_probe_success", node=amqp(cluster, 1)) == 1, "its probe"
        )
        page = exporter.wait(
            lambda page: len(page.find("mq_produced_messages_total")) == 2, "the counts of both"
        )
        assert page.find("mq_produced_messages_total") == produced
        assert "Connection refused; check amqp_url" in exporter.log()


def test_a_node_that_hangs_fails_its_own_probes_only(
    cluster: RabbitCluster, tmp_path: Path
) -> None:
    source = rabbit_source(cluster, **QUICK)
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "probes")
        cluster.pause(1)
        try:
            exporter.wait(
                lambda page: page.value("mq_probe_success", node=amqp(cluster, 1)) == 0, "its probe"
            )
            page = exporter.scrape()
            assert page.value("mq_probe_success", node=amqp(cluster, 0)) == 1
            failed = {
                result: page.value("mq_probe_messages_total", node=amqp(cluster, 0), result=result)
                for result in ("lost", "failed")
            }
            assert failed == {"lost": 0, "failed": 0}
        finally:
            cluster.resume(1)
        exporter.wait(lambda page: lags(page) == BOTH, "both queues")
        exporter.wait(lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "probes")


def test_a_node_in_maintenance_mode_is_no_failure(cluster: RabbitCluster, tmp_path: Path) -> None:
    """It takes no clients on purpose: its probe is not due, and nothing fails.

    This holds whether the probe has worked before or not.
    """
    source = rabbit_source(cluster, **QUICK)
    resting = amqp(cluster, 1)

    def rests(page: Scrape) -> bool:
        success = page.find("mq_probe_success")
        return [dict(labels)["node"] for labels in success] == [amqp(cluster, 0)]

    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "probes")
        with cluster.maintenance(1):
            page = exporter.wait(rests, "the drained node to be left out")
            assert page.value("mq_probe_success") == 1
            failed = page.value("mq_probe_messages_total", node=resting, result="failed")
            assert page.value("mq_node_up", node=cluster.name(1)) == 1
            for _ in range(3):
                page = exporter.cycles(1)
                assert rests(page)
            assert page.value("mq_probe_messages_total", node=resting, result="failed") == failed
            wait_until(
                lambda: "node.in_maintenance" in exporter.log(), "the maintenance in the log"
            )
            (shown,) = exporter.get("/api/v1/subscriptions").json()["sources"]
            notice = f"{cluster.name(1)} is in maintenance mode"
            assert any(alarm.startswith(notice) for alarm in shown["alarms"])
            checked = check(tmp_path, source)
            assert f"in maintenance mode: {cluster.name(1)}" in checked.printed
            assert notice in checked.printed
            late = tmp_path / "late"
            late.mkdir()
            with Exporter(late, [source]) as other:
                page = other.wait(
                    lambda page: page.find("mq_probe_success", node=amqp(cluster, 0)), "a probe"
                )
                assert rests(page)
                assert page.find("mq_probe_messages_total", node=resting) == {}
        exporter.wait(lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "probes")
        wait_until(lambda: "node.maintenance_ended" in exporter.log(), "its end in the log")
        exporter.wait(lambda page: lags(page) == BOTH, "both queues")


def test_a_cluster_that_is_down_is_held_then_hidden_and_comes_back(
    cluster: RabbitCluster, tmp_path: Path
) -> None:
    source = rabbit_source(cluster, **QUICK, hold="4s")
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(lambda page: lags(page) == BOTH, "both queues")
        for node in reversed(cluster.nodes):
            cluster.terminate(node)
        page = exporter.wait(lambda page: page.value("mq_up") == 0, "the source to be down")
        failures = page.find("mq_collect_failures_total", task="backlog", reason="unreachable")
        assert sum(failures.values()) >= 1
        page = exporter.wait(lambda page: lags(page) == {}, "the held values to end")
        assert set(page.find("mq_node_up").values()) == {0}
        cluster.restart_all()
        page = exporter.wait(lambda page: lags(page) == BOTH, "both queues again", 180)
        assert page.value("mq_up") == 1
        assert sum(page.find("mq_subscriptions_lost_total").values()) == 0


def test_a_node_that_was_forgotten_takes_its_series_with_it(tmp_path: Path) -> None:
    """A stopped member stays, as down. A probe's address is gone when its line of the config is."""
    with RabbitCluster(2, quick_statistics=True) as cluster:
        kept, gone = cluster.name(0), cluster.name(1)
        source = rabbit_source(cluster, **QUICK)
        source["management_url"] = cluster.management_url(0)
        with Exporter(tmp_path, [source]) as exporter:
            exporter.wait(
                lambda page: list(page.find("mq_probe_success").values()) == [1, 1], "probes"
            )
            cluster.terminate(1)
            exporter.wait(lambda page: page.value("mq_node_up", node=gone) == 0, "it to be down")
            page = exporter.cycles(6)
            assert page.value("mq_node_up", node=gone) == 0
            assert page.value("mq_probe_success", node=amqp(cluster, 1)) == 0
            cluster.ctl("forget_cluster_node", gone)
            page = exporter.wait(
                lambda page: page.find("mq_node_up", node=gone) == {}, "its series to end"
            )
            assert page.value("mq_node_up", node=kept) == 1
            exporter.write([{**source, "amqp_url": [f"amqp://{amqp(cluster, 0)}"]}])
            exporter.hang_up()
            exporter.wait(
                lambda page: page.find("mq_probe_success", node=amqp(cluster, 1)) == {},
                "the probes of its address to end",
            )
            page = exporter.wait(
                lambda page: page.value("mq_probe_success", node=amqp(cluster, 0)) == 1, "the other"
            )
