"""Committed offsets from `__consumer_offsets`, compared with what the coordinators return.

The truth tests of `test_kafka_truth.py` run in both ways, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from exporter.collectors.kafka import collector
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.commit_stream import verification
from exporter.collectors.kafka.commit_stream.reader import CommitReader
from exporter.collectors.kafka.commit_stream.records import partition_of
from exporter.collectors.kafka.groups import describe_groups
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CommitStreamReport, GroupMembers, LogBacklog, Memberships, Until
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import (
    admin_client,
    commit_offsets,
    committed_offsets,
    create_topic,
    delete_group,
    delete_topic,
    produce,
    transaction,
)
from testbed.waiting import wait_until

OFFSETS = "__consumer_offsets"
GROUPS = [f"g{number}" for number in range(12)]
Offsets = dict[str, dict[tuple[str, int], int]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        create_topic(cluster.bootstrap, "orders", 3, 3)
        for partition in range(3):
            produce(cluster.bootstrap, "orders", partition, 1_000)
        yield cluster


class Followed:
    """A collector that follows the topic."""

    def __init__(
        self, bootstrap: str, offsets: Literal["auto", "admin", "stream"] = "stream", **more: str
    ) -> None:
        properties = {"bootstrap.servers": bootstrap, **more}
        self.bootstrap = bootstrap
        self.collector = KafkaCollector(KafkaSettings("test", properties, offsets=offsets))

    def poll(self) -> LogBacklog:
        return self.collector.backlog(Until(60))

    def offsets(self) -> Offsets:
        """Return what a poll finds."""
        return {
            group: {
                (topic, partition): offset
                for topic, found in positions.offsets.items()
                for partition, offset in found.items()
                if offset is not None
            }
            for group, positions in self.poll().positions.items()
        }

    def assert_true(self) -> None:
        """Compare a poll with what the coordinators return."""
        found = self.offsets()
        assert found == {group: committed_offsets(self.bootstrap, group) for group in found}

    @property
    def report(self) -> CommitStreamReport:
        report = self.collector._backlog.commits.report()
        assert report is not None
        return report

    @property
    def names(self) -> Collection[str]:
        """The groups whose offsets came from the topic in the last poll."""
        return self.collector._backlog.commits.described._followed

    def close(self) -> None:
        self.collector.close()


@pytest.fixture
def followed(cluster: KafkaCluster) -> Iterator[Followed]:
    """After two polls, so that offsets come from the topic."""
    for number, group in enumerate(GROUPS):
        commit_offsets(cluster.bootstrap, group, {("orders", p): 10 * number for p in range(3)})
    with closing(Followed(cluster.bootstrap)) as followed:
        followed.assert_true()
        assert followed.report.groups == 0
        followed.assert_true()
        assert followed.report.groups >= len(GROUPS)
        yield followed


def test_commits_rewinds_and_deletions(followed: Followed) -> None:
    bootstrap = followed.bootstrap
    commit_offsets(bootstrap, "g1", {("orders", 0): 500, ("orders", 1): 3})
    followed.assert_true()
    commit_offsets(bootstrap, "g1", {("orders", 0): 2})
    commit_offsets(bootstrap, "g-new", {("orders", 2): 9})
    followed.assert_true()
    delete_group(bootstrap, "g2")
    assert "g2" not in followed.offsets()
    commit_offsets(bootstrap, "g2", {("orders", 1): 77})
    assert followed.offsets()["g2"] == {("orders", 1): 77}
    followed.assert_true()
    create_topic(bootstrap, "passing", 1, 3)
    produce(bootstrap, "passing", 0, 5)
    commit_offsets(bootstrap, "g3", {("passing", 0): 5})
    followed.assert_true()
    delete_topic(bootstrap, "passing")
    wait_until(lambda: ("passing", 0) not in followed.offsets()["g3"], "the commit to be deleted")
    followed.assert_true()
    assert followed.report[2:] == (0, 0)


def test_every_poll_during_commits_is_one_of_the_moments(followed: Followed) -> None:
    """A value that was committed before the poll began is in it, and none is in the future."""
    for offset in range(100, 130):
        commit_offsets(followed.bootstrap, "g4", {("orders", 0): offset})
        assert followed.offsets()["g4"]["orders", 0] == offset


@pytest.mark.parametrize("commits", [True, False])
def test_commits_of_a_transaction_count_when_it_is_committed(
    followed: Followed, *, commits: bool
) -> None:
    """Meanwhile other groups in the same partition of the topic are read from the coordinator."""
    bootstrap = followed.bootstrap
    own = "in-transaction"
    same = partition_for(bootstrap, own)
    names = (f"beside-{number}" for number in range(1_000))
    beside = next(name for name in names if partition_for(bootstrap, name) == same)
    commit_offsets(bootstrap, own, {("orders", 0): 1})
    commit_offsets(bootstrap, beside, {("orders", 0): 1})
    followed.assert_true()
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": own})
    with transaction(bootstrap, commit=commits) as producer:
        producer.send_offsets_to_transaction(
            [TopicPartition("orders", 0, 40)], consumer.consumer_group_metadata(), 30
        )
        commit_offsets(bootstrap, beside, {("orders", 0): 50})
        found = followed.offsets()
        assert found[own] == {("orders", 0): 1}
        assert found[beside] == {("orders", 0): 50}
    consumer.close()
    expected = 40 if commits else 1
    wait_until(
        lambda: followed.offsets()[own] == {("orders", 0): expected}, "the end of the transaction"
    )
    followed.assert_true()
    assert followed.report.disagreements == 0


def test_a_transaction_that_was_open_before_the_topic_was_followed(cluster: KafkaCluster) -> None:
    bootstrap, group = cluster.bootstrap, "open-before"
    commit_offsets(bootstrap, group, {("orders", 0): 1})
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    with closing(Followed(bootstrap)) as followed:
        with transaction(bootstrap) as producer:
            producer.send_offsets_to_transaction(
                [TopicPartition("orders", 0, 40)], consumer.consumer_group_metadata(), 30
            )
            for _ in range(3):
                assert followed.offsets()[group] == {("orders", 0): 1}
        consumer.close()
        wait_until(lambda: followed.offsets()[group] == {("orders", 0): 40}, "the commit")
        followed.assert_true()
        followed.assert_true()
        assert followed.report.groups == len(followed.offsets())


def partition_for(bootstrap: str, group: str) -> int:
    """Return the partition of the topic that has the group's records."""
    return partition_of(group, partitions_of(bootstrap))


@cache
def partitions_of(bootstrap: str) -> int:
    found = admin_client(bootstrap).list_topics(OFFSETS, timeout=30)
    return len(found.topics[OFFSETS].partitions)


def test_commits_during_the_polls(followed: Followed) -> None:
    """Records that are written while a poll reads the topic are no sign of a truncated log."""
    ended = threading.Event()
    last = 100
    commit_offsets(followed.bootstrap, "g8", {("orders", 0): last})

    def commit() -> None:
        nonlocal last
        while not ended.is_set():
            commit_offsets(followed.bootstrap, "g8", {("orders", 0): last + 1})
            last += 1

    committing = threading.Thread(target=commit)
    committing.start()
    try:
        seen = 0
        for _ in range(15):
            before = last
            found = followed.offsets()["g8"]["orders", 0]
            assert max(before, seen) <= found <= last + 1
            seen = found
            assert followed.report.groups == len(followed.offsets())
    finally:
        ended.set()
        committing.join()
    followed.assert_true()
    assert followed.report.disagreements == 0


def test_latencies_end_with_the_commit_and_not_with_the_poll(cluster: KafkaCluster) -> None:
    """Three records are processed after 1, 2 and 3 s; the polls come seconds later."""
    bootstrap, key = cluster.bootstrap, ("timed", "timed")
    create_topic(bootstrap, "timed", 1, 3)
    produce(bootstrap, "timed")
    commit_offsets(bootstrap, "timed", {("timed", 0): 0})
    with closing(Followed(bootstrap)) as followed:
        for _ in range(2):
            followed.poll()
            followed.collector.latency(Until(60))
        for number, seconds in enumerate((1.0, 2.0, 3.0)):
            began = time.time()
            if number:
                produce(bootstrap, "timed")
                time.sleep(seconds)
            commit_offsets(bootstrap, "timed", {("timed", 0): number + 1})
            ended = time.time()
            time.sleep(2.0)
            followed.poll()
            (latency,) = followed.collector.latency(Until(60)).latencies[key]
            if number:
                assert seconds <= latency <= ended - began


def test_the_times_between_commits_and_which_offsets_were_committed_again(
    followed: Followed,
) -> None:
    """As the committer knows them: a commit happened between its request and the response."""
    bootstrap, key = followed.bootstrap, ("g5", "orders")
    pauses = (0.2, 1.0, 0.4)
    requested, answered = [], []
    for number in range(len(pauses) + 1):
        requested.append(time.time())
        commit_offsets(bootstrap, "g5", {("orders", 0): 200 + number, ("orders", 1): 300})
        answered.append(time.time())
        if number < len(pauses):
            time.sleep(pauses[number])
    backlog = followed.poll()
    first, last, longest = backlog.spans[key]
    clock = 0.002  # the broker's times are in whole milliseconds
    assert requested[0] - clock <= first <= answered[0] + clock
    assert requested[-1] - clock <= last <= answered[-1] + clock
    gaps = list(pairwise(range(len(requested))))
    assert max(requested[b] - answered[a] for a, b in gaps) - clock <= longest
    assert longest <= max(answered[b] - requested[a] for a, b in gaps) + clock
    assert key in backlog.repeated, "partition 1 stayed at 300, and lags"
    backlog = followed.poll()
    assert key not in backlog.spans
    assert key not in backlog.repeated
    commit_offsets(bootstrap, "g5", {("orders", 0): 203})
    backlog = followed.poll()
    assert key not in backlog.spans
    assert key in backlog.repeated
    commit_offsets(bootstrap, "g5", dict.fromkeys((("orders", p) for p in range(3)), 1_000))
    followed.poll()
    commit_offsets(bootstrap, "g5", {("orders", 0): 1_000})
    assert key not in followed.poll().repeated, "nothing waits"


def test_consumers_that_commit_the_same_offset_are_stalled_before_the_stop_time(
    cluster: KafkaCluster, tmp_path: Path
) -> None:
    """One group has a member that commits, the other has none. Both have a backlog that stays."""
    bootstrap = cluster.bootstrap
    source = kafka_source(bootstrap, offsets="stream", schedule={"backlog": "500ms"})
    exporter = Exporter(tmp_path, [source], defaults={"rate_window": "20s"})
    exporter.write([source], thresholds=[{"stop_seconds": "50s"}])

    def has(page: Scrape, group: str, status: str) -> bool:
        return page.value("mq_subscription_status", group=group, status=status) == 1

    with (
        closing(Consumer({"bootstrap.servers": bootstrap, "group.id": "alive"})) as member,
        exporter,
    ):
        member.subscribe(["orders"])
        settle(member, partitions=3)
        for offset in (1, 2, 3):
            commit_offsets_of(member, "orders", 3, offset)
            commit_offsets(
                bootstrap, "gone", dict.fromkeys((("orders", p) for p in range(3)), offset)
            )
            exporter.cycles(2)
        exporter.wait(lambda page: page.value("mq_consumers", group="alive") == 1, "the member")

        def repeat(page: Scrape) -> bool:
            commit_offsets_of(member, "orders", 3, 3)
            return has(page, "alive", "stalled")

        page = exporter.wait(repeat, "the one that is alive to be stalled")
        assert has(page, "gone", "lagging"), "not stopped yet"
        (row,) = exporter.get("/api/v1/subscriptions?group=alive").json()["subscriptions"]
        assert "the consumers are alive" in row["status_reason"]


def test_a_reader_that_fails_costs_nothing_but_questions(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL))

    with monkeypatch.context() as patched:
        patched.setattr(CommitReader, "drain", fails)
        followed.assert_true()
        assert followed.report[:2] == (False, 0)
    for _ in range(2):
        followed.assert_true()
    assert followed.report.groups == len(followed.offsets())


def test_what_disagrees_with_the_coordinator_is_found_counted_and_healed(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a record had not been read. (A made-up record would end the broker's coordinator.)"""
    monkeypatch.setattr(verification, "VERIFY_SECONDS", 0.001)  # all groups in each poll
    followed.poll()
    followed.collector._backlog.commits._table.groups["g6"].commit("orders", 0, 999)
    followed.assert_true()
    followed.assert_true()
    assert followed.report.disagreements == 1
    monkeypatch.setattr(verification, "VERIFY_SECONDS", 1e9)
    followed.assert_true()
    assert followed.report.disagreements == 1


def test_records_that_were_missed_cost_a_question_to_the_coordinators(followed: Followed) -> None:
    commits = followed.collector._backlog.commits
    assert commits._reader is not None
    commit_offsets(followed.bootstrap, "g7", {("orders", 0): 321})
    commits._reader.lost.add(partition_for(followed.bootstrap, "g7"))
    followed.assert_true()
    assert followed.report.groups < len(followed.offsets())
    followed.assert_true()
    assert followed.report.groups == len(followed.offsets())


def test_small_clusters_ask_the_coordinators(cluster: KafkaCluster) -> None:
    with closing(Followed(cluster.bootstrap, "auto")) as followed:
        for _ in range(3):
            followed.assert_true()
        assert followed.report == (False, 0, 0, 0)


@pytest.fixture
def limited(local_kafka: KafkaCluster) -> dict[str, str]:
    """Properties of a user who may see all topics and groups and read one topic."""
    bootstrap = local_kafka.bootstrap
    create_topic(bootstrap, "limited", 1, 3)
    commit_offsets(bootstrap, "limited", {("limited", 0): 0})
    local_kafka.add_user("limited", "word")
    local_kafka.allow("limited", ["describe"], "topic", "*")
    local_kafka.allow("limited", ["read"], "topic", "limited")
    local_kafka.allow("limited", ["describe"], "group", "*")
    client = local_kafka.client_config("sasl", "limited", "word", "SCRAM-SHA-512")
    return {key: str(value) for key, value in client.items()}


def test_without_the_right_to_read_the_topic_the_coordinators_are_asked(
    limited: dict[str, str], local_kafka: KafkaCluster
) -> None:
    bootstrap = limited.pop("bootstrap.servers")
    with closing(Followed(bootstrap, "stream", **limited)) as followed:
        wait_until(
            lambda: "unauthorized" in {each.reason for each in followed.poll().problems},
            "the missing right",
        )
        (problem,) = (each for each in followed.poll().problems if each.reason == "unauthorized")
        assert f"give the user Read on the topic {OFFSETS}" in problem.message
        assert followed.report[:2] == (False, 0)
        found = followed.offsets()["limited"]
        assert found == committed_offsets(local_kafka.bootstrap, "limited")
        findings = {each.feature: each for each in followed.collector.check(Until(60))}
        assert not findings["offsets topic"].ok
    with closing(Followed(bootstrap, "auto", **limited)) as followed:
        findings = {each.feature: each for each in followed.collector.check(Until(60))}
        finding = findings["offsets topic"]
        assert finding.ok
        assert (
            f"Read on {OFFSETS}; so committed offsets are read from the coordinators"
            in finding.detail
        )


def test_a_coordinator_that_dies_and_comes_back(followed: Followed, cluster: KafkaCluster) -> None:
    truth = followed.offsets()
    cluster.kill(1)
    for _ in range(3):
        found = followed.collector.backlog(Until(20)).positions
        for group, positions in found.items():
            for topic, offsets in positions.offsets.items():
                for partition, offset in offsets.items():
                    assert offset in (None, truth[group][topic, partition])
    cluster.restart(1)
    cluster.wait_in_sync()
    for group in GROUPS:
        commit_offsets(followed.bootstrap, group, {("orders", 2): 600})
    followed.assert_true()
    wait_until(
        lambda: followed.offsets() and followed.report.groups >= len(GROUPS), "the topic", 60
    )
    followed.assert_true()
    assert followed.report.disagreements == 0


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_every_rebalance_is_counted(cluster: KafkaCluster, tmp_path: Path, protocol: str) -> None:
    """Members come and go between two polls. One that stays knows each assignment."""
    bootstrap, group = cluster.bootstrap, f"rebalanced-{protocol}"
    topic, visits = group, 3
    create_topic(bootstrap, topic, 4, 3)
    produce(bootstrap, topic)
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
    }
    assignments = 0

    def assigned(*_: object) -> None:
        nonlocal assignments
        assignments += 1

    source = kafka_source(
        bootstrap, offsets="stream", groups={"include": [group]}, schedule={"backlog": "2s"}
    )
    with closing(Consumer(settings)) as member, Exporter(tmp_path, [source]) as exporter:
        member.subscribe([topic], on_assign=assigned)
        settle(member, partitions=4)
        commit_offsets_of(member, topic, 4)

        def visit() -> None:
            with closing(Consumer(settings)) as visitor:
                visitor.subscribe([topic])
                settle(member, visitor, partitions=4)
            settle(member, partitions=4)

        def count(page: Scrape) -> float:
            return page.value("mq_group_rebalances_total", group=group) or 0.0

        exporter.wait(lambda page: page.value("mq_commit_stream_groups") == 1, "the commits")
        exporter.wait(lambda page: page.value("mq_group_members", group=group) == 1, "the member")
        visit()
        before = count(exporter.cycles(2))
        assigned_before = assignments
        for _ in range(visits):
            visit()
        # With the consumer protocol, each member that joins or leaves begins an epoch.
        made = assignments - assigned_before if protocol == "classic" else 2 * visits
        assert made >= 2 * visits
        exporter.wait(lambda page: count(page) - before == made, f"{made} rebalances")
        assert count(exporter.cycles(2)) - before == made


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_only_groups_that_have_changed_are_described(
    followed: Followed, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    bootstrap, group, topic = followed.bootstrap, f"described-{protocol}", "orders"
    asked: list[str] = []

    def described() -> Mapping[str, GroupMembers]:
        """Poll, and describe on schedule."""
        followed.poll()
        asked.clear()
        return followed.collector.consumers(Until(60)).groups

    def note(client: KafkaClient, names: Iterable[str], *rest: Any) -> Memberships:
        asked.extend(names)
        return describe_groups(client, asked, *rest)

    monkeypatch.setattr(collector, "describe_groups", note)
    monkeypatch.setattr(collector, "WHOLE_AGAIN", 0.0)
    settings = {"bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol}
    with closing(Consumer(settings)) as member:
        member.subscribe([topic])
        settle(member, partitions=3)
        commit_offsets_of(member, topic, 3)
        wait_until(lambda: followed.poll() and group in followed.names, "the group to be followed")
        found = described().get(group)
        assert found is not None
        assert len(found.members) == 1
        wait_until(lambda: group not in described() and not asked, "the group to be known")
        commit_offsets_of(member, topic, 3)
        assert group not in described(), "a commit is no change"
        with closing(Consumer(settings)) as other:
            other.subscribe([topic])
            settle(member, other, partitions=3)
            found = wait_until(lambda: described().get(group), "the change to be described")
            assert found is not None
            assert len(found.members) == 2
            assert sum(map(len, found.assigned.values())) == 3
        settle(member, partitions=3)
        found = wait_until(lambda: described().get(group), "the change to be described")
        assert found is not None
        assert len(found.members) == 1
        wait_until(lambda: not asked or not (described(), asked)[1], "the group to be known")
        reader = followed.collector._backlog.commits._reader
        assert reader is not None
        reader.lost.add(partition_for(bootstrap, group))
        assert group in described(), "records were missed"


def settle(*members: Consumer, partitions: int) -> None:
    """Poll until each member has partitions, and all have one reader."""

    def settled() -> bool:
        for member in members:
            member.poll(0.05)
        counts = [len(member.assignment()) for member in members]
        return sum(counts) == partitions and all(counts)

    wait_until(settled, "the assignment")


def commit_offsets_of(member: Consumer, topic: str, partitions: int, offset: int = 0) -> None:
    """Commit this offset of each partition as a member of the group."""
    offsets = [TopicPartition(topic, p, offset) for p in range(partitions)]
    member.commit(offsets=offsets, asynchronous=False)
