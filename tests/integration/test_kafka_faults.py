"""Metrics while brokers die, hang and come back: the true value, a recent value, or none."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import (
    add_partitions,
    commit_offsets,
    create_topic,
    delete_group,
    delete_topic,
    produce,
)
from testbed.waiting import wait_until
from tests.support.watching import Watch

SLOWEST = 2.0
"""Seconds: far less than every timeout of a broker, far more than a scrape on a busy machine."""
HOLD = {"hold": "8s", "deadline": "4s"}
Key = tuple[str, str, int]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Three brokers for the tests here, each of which leaves them as it found them."""
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def truth(cluster: KafkaCluster) -> dict[Key, int]:
    """Positions on twelve partitions of every leader, of groups of every coordinator.

    Nothing moves.
    """
    create_topic(cluster.bootstrap, "still", 12, 3)
    for partition in range(12):
        produce(cluster.bootstrap, "still", partition, 20)
    lags: dict[Key, int] = {}
    for number in range(8):
        group = f"still-{number}"
        offsets = {("still", partition): 5 + number for partition in range(12)}
        commit_offsets(cluster.bootstrap, group, offsets)
        lags |= {(group, "still", partition): 15 - number for partition in range(12)}
    return lags


@pytest.fixture
def exporter(cluster: KafkaCluster, truth: dict[Key, int], tmp_path: Path) -> Iterator[Exporter]:
    source = kafka_source(cluster.bootstrap, groups={"include": ["still-.*"]}, **HOLD)
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(lambda page: page.lags() == truth, "the truth")
        yield exporter


def test_a_broker_killed_and_restarted(
    cluster: KafkaCluster, truth: dict[Key, int], exporter: Exporter
) -> None:
    node = cluster.address(1)
    with Watch(exporter) as watch:
        cluster.kill(1)
        exporter.wait(lambda p: p.value("mq_node_up", node=node) == 0, "the node to be down")
        cluster.wait_fenced(1)
        page = exporter.wait(
            lambda p: p.value("mq_collect_success", task="backlog") == 1, "success"
        )
        assert page.lags() == truth
        assert page.value("mq_up") == 1
        cluster.restart(1)
        cluster.wait_broker(1)
        exporter.wait(lambda p: p.value("mq_node_up", node=node) == 1, "the node to be up")
        page = exporter.cycles(2)
        assert page.lags() == truth
    watch.hold(truth, SLOWEST)
    assert {name: set(sums) for name, sums in watch.counters.items()} == {
        "mq_produced_messages_total": {0.0},
        "mq_consumed_messages_total": {0.0},
    }
    cluster.wait_in_sync()


def test_a_cluster_killed_for_longer_than_hold(
    cluster: KafkaCluster, truth: dict[Key, int], exporter: Exporter
) -> None:
    exporter.wait(
        lambda p: list(p.find("mq_probe_success").values()) == [1.0] * 3, "a probe of each broker"
    )
    with Watch(exporter) as watch:
        killed = time.monotonic()
        cluster.kill_all()
        page = exporter.wait(lambda p: p.value("mq_up") == 0, "the source to be down")
        if time.monotonic() - killed < 7:
            assert page.lags() == truth, "held"
        page = exporter.wait(lambda p: p.lags() == {}, "the held values to end")
        assert time.monotonic() - killed > 6, "held for a while"
        assert page.find("mq_log_end_offset") == {}
        assert page.value("mq_collect_success", task="backlog") == 0
        failures = page.find("mq_collect_failures_total", task="backlog", reason="unreachable")
        assert sum(failures.values()) >= 1
        # Probes sent before the kill are judged by the next ones, which may end later than `hold`.
        exporter.wait(
            lambda p: (
                p.value("mq_series") == sum(name.startswith("mq_probe_") for name, _ in p.series)
                and set(p.find("mq_probe_success").values()) == {0.0}
            ),
            "nothing but failed probes to be left",
        )
        cluster.restart_all()
        cluster.wait_ready()
        exporter.wait(lambda p: p.lags() == truth, "the truth again")
        assert exporter.cycles(1).value("mq_up") == 1
    watch.hold(truth, SLOWEST)
    assert set(watch.counters["mq_produced_messages_total"]) == {0.0}
    assert set(watch.counters["mq_consumed_messages_total"]) == {0.0}


def test_a_broker_that_accepts_and_never_answers(
    cluster: KafkaCluster, truth: dict[Key, int], exporter: Exporter
) -> None:
    node = cluster.address(2)
    with Watch(exporter) as watch:
        cluster.pause(2)
        page = exporter.wait(lambda p: p.value("mq_node_up", node=node) == 0, "the node to be down")
        assert page.value("mq_up") == 1
        cluster.resume(2)
        cluster.wait_broker(2)
        exporter.wait(
            lambda p: (
                p.value("mq_collect_success", task="backlog") == 1
                and p.value("mq_node_up", node=node) == 1
            ),
            "the node to be up",
        )
        assert exporter.cycles(2).lags() == truth
    watch.hold(truth, SLOWEST)
    cluster.wait_in_sync()


def test_faults_leak_neither_threads_nor_memory(
    cluster: KafkaCluster, truth: dict[Key, int], exporter: Exporter
) -> None:
    process, node = psutil.Process(exporter.pid), cluster.address(0)
    threads, memory = [], []
    for _ in range(4):
        cluster.pause(0)
        exporter.wait(lambda p: p.value("mq_node_up", node=node) == 0, "the node to be down")
        cluster.resume(0)
        cluster.wait_broker(0)
        exporter.wait(lambda p: p.value("mq_node_up", node=node) == 1, "the node to be up")
        exporter.cycles(2)
        threads.append(process.num_threads())
        memory.append(process.memory_info().rss)
    assert exporter.scrape().lags() == truth
    assert max(threads[1:]) <= threads[0] + 2
    assert memory[-1] < memory[0] + (20 << 20)
    cluster.wait_in_sync()


def test_two_sources_of_which_one_hangs(
    cluster: KafkaCluster, truth: dict[Key, int], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        sources = [
            kafka_source(f"127.0.0.1:{hole.getsockname()[1]}", "hangs", **HOLD),
            kafka_source(cluster.bootstrap, groups={"include": ["still-.*"]}, **HOLD),
        ]
        with Exporter(tmp_path, sources) as exporter:
            exporter.wait(lambda p: p.lags() == truth, "the truth of the healthy one")
            with Watch(exporter) as watch:
                page = exporter.wait(
                    lambda p: sum(p.find("mq_collect_failures_total", source="hangs").values()) > 0,
                    "the failure of the other",
                )
                exporter.cycles(3)
            watch.hold(truth, SLOWEST)
            assert page.value("mq_up", source="hangs") == 0
            assert page.value("mq_up", source="test") == 1
            began = time.monotonic()
            exporter.signal(signal.SIGTERM)
            wait_until(lambda: not exporter.child.is_running, "the end")  # type: ignore[union-attr]
            assert time.monotonic() - began < 5


def test_it_starts_while_every_broker_is_down_and_finds_them_when_they_come(
    cluster: KafkaCluster, truth: dict[Key, int], tmp_path: Path
) -> None:
    cluster.kill_all()
    source = kafka_source(cluster.bootstrap, groups={"include": ["still-.*"]}, **HOLD)
    with Exporter(tmp_path, [source]) as exporter:
        page = exporter.scrape()
        assert page.value("mq_up") == 0
        assert page.value("mq_collect_success", task="backlog") == 0
        assert page.lags() == {}
        exporter.wait(
            lambda p: (
                p.value("mq_collect_failures_total", task="backlog", reason="unreachable") != 0
            ),
            "the failure",
        )
        cluster.restart_all()
        cluster.wait_ready()
        exporter.wait(lambda p: p.lags() == truth, "the truth")


def test_sigterm_ends_it_in_time_while_a_broker_hangs(
    cluster: KafkaCluster, exporter: Exporter
) -> None:
    for broker in cluster.broker_ids:
        cluster.pause(broker)
    exporter.wait(lambda p: p.value("mq_up") == 0, "the source to be down")
    began = time.monotonic()
    exporter.signal(signal.SIGTERM)
    wait_until(lambda: not exporter.child.is_running, "the end")  # type: ignore[union-attr]
    taken = time.monotonic() - began
    for broker in cluster.broker_ids:
        cluster.resume(broker)
    cluster.wait_ready()
    assert taken < 5


def test_a_topic_deleted_and_made_anew(cluster: KafkaCluster, exporter: Exporter) -> None:
    bootstrap, group = cluster.bootstrap, "still-anew"
    create_topic(bootstrap, "anew", 3, 3)
    produce(bootstrap, "anew", 0, 1000)
    commit_offsets(bootstrap, group, {("anew", 0): 900})
    exporter.wait(lambda p: p.lags().get((group, "anew", 0)) == 100, "the lag")
    with Watch(exporter) as watch:
        delete_topic(bootstrap, "anew")
        create_topic(bootstrap, "anew", 1, 3)
        produce(bootstrap, "anew", 0, 10)
        commit_offsets(bootstrap, group, {("anew", 0): 7})
        page = exporter.wait(
            lambda p: p.lags().get((group, "anew", 0)) == 3, "the lag of the new one"
        )
    assert page.find("mq_log_end_offset", destination="anew").keys() == {
        tuple(
            sorted(
                {
                    "system": "kafka",
                    "source": "test",
                    "destination": "anew",
                    "partition": "0",
                }.items()
            )
        )
    }
    produced = watch.counters["mq_produced_messages_total"]
    assert max(produced) - produced[0] <= 10, "no spike"
    delete_topic(bootstrap, "anew")
    exporter.wait(lambda p: p.find("mq_log_end_offset", destination="anew") == {}, "its end")
    page = exporter.wait(lambda p: p.find("mq_lag_messages", group=group) == {}, "its end")
    assert sum(page.find("mq_subscriptions_lost_total", reason="deleted").values()) >= 1


def test_partitions_added_and_a_group_deleted(cluster: KafkaCluster, exporter: Exporter) -> None:
    bootstrap, group = cluster.bootstrap, "still-grows"
    create_topic(bootstrap, "grows", 1, 3)
    commit_offsets(bootstrap, group, {("grows", 0): 0})
    exporter.wait(lambda p: p.lags().get((group, "grows", 0)) == 0, "the first partition")
    add_partitions(bootstrap, "grows", 4)
    produce(bootstrap, "grows", 3, 6)
    commit_offsets(bootstrap, group, {("grows", 3): 2})
    exporter.wait(lambda p: p.lags().get((group, "grows", 3)) == 4, "the new partition")
    delete_group(bootstrap, group)
    page = exporter.wait(
        lambda p: (
            p.find("mq_lag_messages", group=group) == {}
            and p.find("mq_group_state", group=group) == {}
        ),
        "the group's end",
    )
    assert page.value("mq_subscriptions_lost_total", reason="deleted") == 1
    assert page.value("mq_log_end_offset", destination="grows", partition="3") == 6
    delete_topic(bootstrap, "grows")


def test_offsets_reset_back_and_forth(cluster: KafkaCluster, exporter: Exporter) -> None:
    bootstrap, group = cluster.bootstrap, "still-reset"
    create_topic(bootstrap, "reset", 1, 3)
    produce(bootstrap, "reset", 0, 100)
    sub = {"group": group, "destination": "reset"}
    rewinds = 0
    for offset in (50, 10, 60, 0, 100):
        commit_offsets(bootstrap, group, {("reset", 0): offset})
        left = 100 - offset

        def arrived(page: Scrape, left: int = left) -> bool:
            return page.lags().get((group, "reset", 0)) == left

        page = exporter.wait(arrived, "the position")
        rewinds += offset in (10, 0)
        assert page.value("mq_offset_rewinds_total", **sub) == rewinds
    assert page.value("mq_consumed_messages_total", **sub) == 50 + 100
    delete_group(bootstrap, group)
    delete_topic(bootstrap, "reset")


def test_reload_keeps_what_did_not_change_and_refuses_what_is_broken(
    cluster: KafkaCluster, truth: dict[Key, int], exporter: Exporter
) -> None:
    bootstrap, group = cluster.bootstrap, "still-reload"
    create_topic(bootstrap, "reload", 1, 3)
    commit_offsets(bootstrap, group, {("reload", 0): 0})
    sub = {"group": group, "destination": "reload", "source": "test"}
    exporter.wait(lambda p: p.value("mq_consumed_messages_total", **sub) == 0, "the group")
    produce(bootstrap, "reload", 0, 30)
    commit_offsets(bootstrap, group, {("reload", 0): 20})
    exporter.wait(lambda p: p.value("mq_consumed_messages_total", **sub) == 20, "the movement")

    good = exporter.config.read_text()
    exporter.config.write_text(good.replace('"system"', '"sistem"'))
    exporter.signal(signal.SIGHUP)
    wait_until(lambda: "config.refused" in exporter.log(), "the refusal")
    assert "did you misspell it as 'sistem'?" in exporter.log()
    page = exporter.cycles(1)
    assert page.value("mq_consumed_messages_total", **sub) == 20
    assert page.value("mq_config_last_reload_successful") == 0
    read_at = page.value("mq_config_last_reload_success_timestamp_seconds") or 0.0

    groups = {"include": ["still-.*"]}
    exporter.write(
        [
            kafka_source(bootstrap, groups=groups, **HOLD),
            kafka_source(bootstrap, "second", groups=groups, **HOLD),
        ]
    )
    exporter.signal(signal.SIGHUP)
    page = exporter.wait(lambda p: p.lags("second").items() >= truth.items(), "the second source")
    assert page.value("mq_consumed_messages_total", **sub) == 20
    assert page.value("mq_config_last_reload_successful") == 1
    assert (page.value("mq_config_last_reload_success_timestamp_seconds") or 0.0) > read_at > 0

    changed = {**HOLD, "rate_window": "30s"}
    exporter.write([kafka_source(bootstrap, groups=groups, **changed)])
    exporter.signal(signal.SIGHUP)
    exporter.wait(lambda p: p.find("mq_up", source="second") == {}, "the second source's end")
    page = exporter.cycles(2)
    assert page.value("mq_consumed_messages_total", **sub) == 20, (
        "the same place keeps its counters"
    )
    assert page.find("mq_lag_messages", source="second") == {}
    assert sum(page.find("mq_subscriptions_lost_total").values()) == 0
    delete_group(bootstrap, group)
    delete_topic(bootstrap, "reload")
