"""A group whose description crashes the process that requests it, on a real broker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.exporter import Exporter, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic, produce
from testbed.kafka_protocol import join_raw
from tests.support.checking import check

FATAL = "fatal"
"""A group whose member has an assignment of one byte: librdkafka 2.16 aborts when it parses it."""
OTHERS = [f"g{number}" for number in range(12)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster(brokers=1) as cluster:
        address = cluster.bootstrap
        create_topic(address, "orders", 1)
        produce(address, "orders", 0, 10)
        for group in OTHERS:
            commit_offsets(address, group, {("orders", 0): 4})
            join_raw(address, group.encode(), b"")
        join_raw(address, FATAL.encode(), b"\x00")
        commit_offsets(address, "idle", {("orders", 0): 4})
        yield cluster


def test_a_group_that_ends_the_process_is_left_out_and_the_others_are_described(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    with Exporter(tmp_path, [kafka_source(cluster.bootstrap)]) as exporter:
        page = exporter.wait(
            lambda page: all(
                page.value("mq_group_members", source="test", group=group) == 1 for group in OTHERS
            ),
            "the members of the other groups",
        )
        assert page.value("mq_group_members", source="test", group="idle") == 0
        page = exporter.wait(
            lambda page: page.value(
                "mq_collect_failures_total", task="consumers", reason="partial", source="test"
            ),
            "the group to be counted as a problem",
        )
        replaced = page.value("mq_collector_restarts_total", source="test")
        assert replaced is not None
        assert 1 <= replaced <= 8, exporter.log()
        # From here on, no process dies any more.
        page = exporter.cycles(3)
        assert page.value("mq_collector_restarts_total", source="test") == replaced
        assert page.value("mq_up", source="test") == 1
        assert page.find("mq_group_members", source="test", group=FATAL) == {}
        # The library prints its failed assertions between the lines of the log.
        lines = [json.loads(line) for line in exporter.log().splitlines() if line.startswith("{")]
    assert [line["part"] for line in lines if line["event"] == "worker.part_left_out"] == [FATAL]
    subjects = {
        subject
        for line in lines
        if line["event"] == "task.partial" and line["task"] == "consumers"
        for subject in line["subjects"]
    }
    assert subjects == {f"group {FATAL}"}


def test_check_names_the_group(cluster: KafkaCluster, tmp_path: Path) -> None:
    source = kafka_source(cluster.bootstrap, deadline="300s", schedule={"consumers": "300s"})
    done = check(tmp_path, source)
    assert re.search(rf"missing consumers: 1 of \d+ groups .*group {FATAL}: ", done.printed), done
