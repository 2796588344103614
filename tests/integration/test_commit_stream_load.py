"""`offsets: stream` while many offsets are committed: no lag is wrong, whatever happens.

Each page says when its offsets were read. The lag must be one that the group had in that time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psutil
import pytest

from testbed.committing import Committing, read_since, wrong_lags
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import (
    alter_topic,
    commit_offsets,
    create_topic,
    end_offsets,
    produce,
    start_offsets,
)
from testbed.waiting import wait_until

OFFSETS = "__consumer_offsets"
TOPIC, PARTITIONS, MESSAGES = "orders", 50, 5_000
GROUPS = ("first", "second", "third", "fourth")
QUIET = {f"quiet-{number}": 10 * number for number in range(20)}
"""Groups that commit once, and this offset."""
FAST = 1_000
"""Commits of each group as fast as possible: 200,000 records in all."""
MISSED = 280
"""Commits of each group while the exporter stands still: about 15 seconds."""
MOST_GROWTH_MB = 150
PLACES = [(OFFSETS, partition) for partition in range(8)]
QUICK_RETENTION = {"log.retention.check.interval.ms": "500", "log.initial.task.delay.ms": "500"}
SHORT_RETENTION = {
    "cleanup.policy": "compact,delete",
    "retention.ms": "1000",
    "segment.ms": "1000",
}


class Load:
    """An exporter, and groups that commit all the time."""

    def __init__(self, exporter: Exporter, groups: list[Committing]) -> None:
        self.exporter, self.groups = exporter, groups

    def look(self) -> Scrape:
        """Scrape and compare each lag with the offsets that the group had."""
        page, until = self.exporter.scrape(), time.time()
        assert wrong_lags(page, "test", self.groups, MESSAGES, until) == []
        lags = page.lags()
        for name, offset in QUIET.items():
            assert lags[name, TOPIC, 0] == MESSAGES - offset, name
        return page

    def look_until(self, condition: Callable[[Scrape], object], what: str) -> None:
        wait_until(lambda: condition(self.look()), what, 120)

    def settle(self) -> None:
        """Until all groups come from the topic again, and the page has the present offsets."""
        for group in self.groups:
            group.stop()
        stopped = time.time()
        self.look_until(
            lambda page: read_since(page, "test") > stopped, "a poll of the last offsets"
        )
        self.look_until(
            lambda page: (page.value("mq_commit_stream_groups") or 0) >= len(GROUPS) + len(QUIET),
            "all groups to be read from the topic",
        )
        page = self.look()
        assert page.value("mq_commit_stream_disagreements_total") == 0
        assert page.value("mq_commit_stream_unknown_records_total") == 0
        for group in self.groups:
            group.start()

    def memory_mb(self) -> float:
        root = psutil.Process(self.exporter.pid)
        processes = [root, *root.children(recursive=True)]
        return sum(float(each.memory_info().rss) for each in processes) / 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster(brokers=1, settings=QUICK_RETENTION) as cluster:
        create_topic(cluster.bootstrap, TOPIC, PARTITIONS, 1)
        for partition in range(PARTITIONS):
            produce(cluster.bootstrap, TOPIC, partition, MESSAGES)
        for group, offset in QUIET.items():
            commit_offsets(cluster.bootstrap, group, {(TOPIC, 0): offset})
        yield cluster


@pytest.fixture
def load(cluster: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    source = kafka_source(cluster.bootstrap, offsets="stream", probe={"enabled": False})
    with ExitStack() as stack:
        groups = [
            stack.enter_context(Committing(cluster.bootstrap, group, TOPIC, PARTITIONS, MESSAGES))
            for group in GROUPS
        ]
        for group in groups:
            group.pause_seconds = 0.05
        wait_until(lambda: all(group.committed for group in groups), "the first commits")
        exporter = stack.enter_context(Exporter(tmp_path_factory.mktemp("load"), [source]))
        exporter.wait(
            lambda page: (page.value("mq_commit_stream_groups") or 0) >= len(GROUPS) + len(QUIET),
            "the topic to be followed",
        )
        yield Load(exporter, groups)


def test_no_lag_is_wrong_under_load(load: Load, cluster: KafkaCluster) -> None:
    child = load.exporter.child
    assert child is not None
    used = load.memory_mb()
    load.settle()

    # As fast as the broker takes them.
    fast_until = load.groups[0].committed + FAST
    for group in load.groups:
        group.pause_seconds = 0.0
    load.look_until(lambda _: load.groups[0].committed >= fast_until, "fast commits")
    for group in load.groups:
        group.pause_seconds = 0.05
    load.settle()

    # The exporter stands still while commits go on.
    resumes_at = load.groups[0].committed + MISSED
    child.pause_all()
    wait_until(lambda: load.groups[0].committed >= resumes_at, "commits during the pause", 120)
    child.resume_all()
    load.settle()

    # What it had not read yet is deleted meanwhile.
    child.pause_all()
    alter_topic(cluster.bootstrap, OFFSETS, SHORT_RETENTION)
    # The answer to its last request may hold records of after the pause. After a round of the
    # retention, the broker has sent it, and what follows is sent to nobody.
    for _ in range(2):
        _wait_until_deleted(cluster)
    alter_topic(cluster.bootstrap, OFFSETS, {"retention.ms": "86400000"})
    child.resume_all()
    load.look_until(
        lambda _: "offsets.records_missed" in load.exporter.log(), "the loss to be seen"
    )
    load.settle()
    assert load.memory_mb() < used + MOST_GROWTH_MB


def _wait_until_deleted(cluster: KafkaCluster) -> None:
    """Until all partitions that are written to begin after their present ends."""
    ends = end_offsets(cluster.bootstrap, PLACES)

    def is_done() -> bool:
        starts = start_offsets(cluster.bootstrap, PLACES)
        now = end_offsets(cluster.bootstrap, PLACES)
        moved = [place for place, end in ends.items() if now[place] > end]
        return bool(moved) and all(starts[place] > ends[place] for place in moved)

    wait_until(is_done, "the records to be deleted", 120)
