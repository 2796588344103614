"""Every number, compared with the known state of a real cluster, unusual positions included."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Consumer, TopicPartition

from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import Kafka
from testbed.kafka_data import (
    commit_offsets,
    create_topic,
    delete_records,
    end_offsets,
    produce,
    produce_in,
    produce_transaction,
    start_offsets,
    transaction,
)
from testbed.waiting import wait_until

HOSTILE_GROUPS = (
    'truth-quote"',
    "truth-back\\slash",
    "truth-new\nline",
    "truth-🙂",
    "truth-sp ace/slash{},=",
    "truth-" + "x" * 249,
)
COUNTERS = (
    "mq_consumed_messages_total",
    "mq_subscription_produced_messages_total",
    "mq_offset_rewinds_total",
    "mq_messages_lost_total",
    "mq_position_anomalies_total",
    "mq_past_end_messages",
    "mq_uncommitted_partitions",
)
LONG_TOPIC = "truth-" + "l" * 243
Key = tuple[str, str, int]
Position = Callable[[str, str, int, int, int], None]


class Reader:
    """A consumer with a group that reads so many messages, commits, and stays."""

    def __init__(self, bootstrap: str, group: str, topic: str, count: int, protocol: str) -> None:
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "group.protocol": protocol,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._stop = threading.Event()
        self._left = count
        self._done = threading.Event()
        self._commit = count > 0
        self.consumer.subscribe([topic])
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            if self._left == 0 and not self._done.is_set():
                if self._commit:
                    self.consumer.commit(asynchronous=False)
                if self.consumer.assignment():
                    self.consumer.pause(self.consumer.assignment())
                    self._done.set()
            message = self.consumer.poll(0.1)
            if self._left and message is not None and message.error() is None:
                self._left -= 1

    def wait(self) -> None:
        assert self._done.wait(120), "the reader did not get its messages"

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self.consumer.close()


@dataclass
class Truth:
    """What must be exposed."""

    lags: dict[Key, int] = field(default_factory=dict)
    bounds: set[tuple[str, str]] = field(default_factory=set)
    readers: list[Reader] = field(default_factory=list)


def write(bootstrap: str) -> Truth:
    truth = Truth()

    def position(group: str, topic: str, partition: int, offset: int, lag: int) -> None:
        commit_offsets(bootstrap, group, {(topic, partition): offset})
        truth.lags[group, topic, partition] = lag

    write_plain(bootstrap, position)
    write_awkward(bootstrap, truth, position)
    for protocol in ("classic", "consumer"):
        topic, group = f"truth-live-{protocol}", f"truth-reads-{protocol}"
        create_topic(bootstrap, topic, 1, 3)
        produce(bootstrap, topic, 0, 20)
        truth.readers.append(Reader(bootstrap, group, topic, 15, protocol))
        truth.lags[group, topic, 0] = 5
    create_topic(bootstrap, "truth-never", 2, 3)
    produce(bootstrap, "truth-never", 0, 8)
    truth.readers.append(Reader(bootstrap, "truth-never-commits", "truth-never", 0, "classic"))
    for reader in truth.readers:
        reader.wait()
    return truth


def write_plain(bootstrap: str, position: Position) -> None:

    create_topic(bootstrap, "truth-plain", 3, 3)
    produce(bootstrap, "truth-plain", 0, 100)
    produce(bootstrap, "truth-plain", 2, 50)
    position("truth-at-end", "truth-plain", 0, 100, 0)
    position("truth-at-end", "truth-plain", 1, 0, 0)
    position("truth-at-end", "truth-plain", 2, 50, 0)
    position("truth-behind", "truth-plain", 0, 37, 63)
    position("truth-behind", "truth-plain", 2, 0, 50)
    position("truth-past-end", "truth-plain", 0, 5000, 0)

    create_topic(bootstrap, "truth-empty", 1, 3)
    position("truth-empty", "truth-empty", 0, 0, 0)

    create_topic(bootstrap, "truth-truncated", 2, 3)
    produce(bootstrap, "truth-truncated", 0, 100)
    produce(bootstrap, "truth-truncated", 1, 50)
    delete_records(bootstrap, {("truth-truncated", 0): 40, ("truth-truncated", 1): 50})
    position("truth-below-start", "truth-truncated", 0, 10, 60)
    position("truth-below-start", "truth-truncated", 1, 20, 0)
    position("truth-above-start", "truth-truncated", 0, 70, 30)

    create_topic(bootstrap, LONG_TOPIC, 1, 3)
    produce(bootstrap, LONG_TOPIC, 0, 9)
    for number, group in enumerate(HOSTILE_GROUPS):
        position(group, LONG_TOPIC, 0, number, 9 - number)


def write_awkward(bootstrap: str, truth: Truth, position: Position) -> None:
    create_topic(bootstrap, "truth-marker", 1, 3)
    produce_transaction(bootstrap, "truth-marker", 0, 5)
    position("truth-on-marker", "truth-marker", 0, 5, 0)
    position("truth-before-marker", "truth-marker", 0, 3, 3)
    truth.bounds.add(("truth-before-marker", "truth-marker"))

    create_topic(bootstrap, "truth-aborted", 1, 3)
    produce(bootstrap, "truth-aborted", 0, 10)
    produce_transaction(bootstrap, "truth-aborted", 0, 7, commit=False)
    position("truth-committed-aborted", "truth-aborted", 0, 10, 0)
    position("truth-committed-further", "truth-aborted", 0, 8, 10)
    position("truth-uncommitted-aborted", "truth-aborted", 0, 10, 8)
    truth.bounds.add(("truth-committed-further", "truth-aborted"))
    truth.bounds.add(("truth-uncommitted-aborted", "truth-aborted"))

    compacted = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.001",
        "segment.ms": "100",
        "min.compaction.lag.ms": "0",
    }
    create_topic(bootstrap, "truth-compacted", 1, 3, compacted)
    produce(bootstrap, "truth-compacted", 0, 100, key=b"same")
    produce(bootstrap, "truth-compacted", 0, 1, key=b"other")
    wait_for_gap(bootstrap, "truth-compacted", 40)
    end = end_offsets(bootstrap, [("truth-compacted", 0)])["truth-compacted", 0]
    position("truth-in-gap", "truth-compacted", 0, 40, end - 40)
    truth.bounds.add(("truth-in-gap", "truth-compacted"))


def wait_for_gap(bootstrap: str, topic: str, offset: int) -> None:
    """Write until the cleaner has removed the record at the offset."""

    def first_behind() -> int:
        produce(bootstrap, topic, 0, 1, key=b"same")
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "truth-unused",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(topic, 0, offset)])
        message = consumer.poll(30)
        consumer.close()
        assert message is not None
        assert message.error() is None
        found = message.offset()
        assert found is not None
        return found

    wait_until(lambda: first_behind() > offset, "the log cleaner", 120, poll_seconds=0.3)


@dataclass(frozen=True)
class World:
    exporter: Exporter
    bootstrap: str
    truth: Truth
    stream: Exporter
    """Another exporter, which reads committed offsets from Kafka's topic."""

    def page(self) -> Scrape:
        return self.exporter.scrape()

    def wait(self, condition: Callable[[Scrape], object], what: str) -> Scrape:
        """Wait for both exporters: what happens next must be the same for both."""
        self.stream.wait(condition, f"{what}, from the topic")
        return self.exporter.wait(condition, what)


@pytest.fixture(scope="module")
def world(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    truth = write(kafka.bootstrap)
    source = kafka_source(
        kafka.bootstrap,
        destinations={"include": ["truth-.*"]},
        groups={"include": ["truth-.*"], "exclude": ["truth-unused"]},
        read_committed_groups=["truth-committed-.*"],
        labels={"team": "a"},
    )
    folder, other = tmp_path_factory.mktemp("truth"), tmp_path_factory.mktemp("stream")
    with (
        Exporter(folder, [source]) as exporter,
        Exporter(other, [{**source, "offsets": "stream", "probe": {"enabled": False}}]) as stream,
    ):
        exporter.wait(lambda p: p.lags() == truth.lags, "lags to be true", 60)
        stream.wait(lambda p: p.lags() == truth.lags, "lags to be true", 60)
        stream.wait(lambda p: p.value("mq_commit_stream_groups"), "groups read from the topic")
        yield World(exporter, kafka.bootstrap, truth, stream)
    for reader in truth.readers:
        reader.close()


@pytest.fixture(autouse=True)
def both_ways_are_equal(world: World) -> Iterator[None]:
    """After each test the numbers are the same, however committed offsets are read."""
    yield

    def is_equal(page: Scrape) -> bool:
        other = world.page()
        return page.lags() == other.lags() and all(
            page.find(name) == other.find(name) for name in COUNTERS
        )

    page = world.stream.wait(is_equal, "the same lags and counters")
    assert page.value("mq_commit_stream_groups")
    assert page.value("mq_commit_stream_disagreements_total") == 0
    assert page.value("mq_commit_stream_unknown_records_total") == 0


def test_promtool_has_nothing_to_say_about_the_page(world: World) -> None:
    page = world.exporter.get("/metrics", Accept="text/plain").content
    answer = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, b"")


def test_the_json_says_what_the_page_says(world: World) -> None:
    answer = world.exporter.get("/api/v1/subscriptions?partitions=true").json()
    lags = {
        (row["group"], row["destination"], int(place["partition"])): place["lag_messages"]
        for row in answer["subscriptions"]
        for place in row["partitions"]
    }
    assert lags == world.truth.lags
    assert [source["up"] for source in answer["sources"]] == [True]


def test_hostile_names_are_in_the_json_as_they_are_and_not_in_the_page(world: World) -> None:
    """The page takes them from there, as texts: `page/test_page.py`."""
    rows = world.exporter.get("/api/v1/subscriptions").json()["subscriptions"]
    assert any('truth-quote"' in row["group"] for row in rows)
    assert "truth-" not in world.exporter.get("/").text


def test_once_prints_the_same_page(world: World) -> None:
    command = [sys.executable, "-m", "exporter", "once", "--config", str(world.exporter.config)]
    answer = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert (answer.returncode, answer.stderr) == (0, b"")
    lags = Scrape(answer.stdout.decode(), text=True).lags()
    assert lags == world.truth.lags


def test_top_watches_a_daemon(world: World) -> None:
    command = [sys.executable, "-m", "exporter", "top", world.exporter.url, "--looks", "1"]
    answer = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert answer.returncode == 0
    assert "truth-behind" in answer.stdout.decode()


def test_every_lag_is_true(world: World) -> None:
    assert world.page().lags() == world.truth.lags


def test_lags_stay_true(world: World) -> None:
    for _ in range(3):
        assert world.exporter.cycles(1).lags() == world.truth.lags


def test_upper_bounds_are_marked_and_nothing_else(world: World) -> None:
    page = world.exporter.wait(
        lambda p: len(p.find("mq_lag_upper_bound")) >= len(world.truth.bounds), "the marks"
    )
    marked = {
        (d["group"], d["destination"])
        for labels in page.find("mq_lag_upper_bound")
        for d in [dict(labels)]
    }
    assert marked == world.truth.bounds


def test_log_offsets_are_the_brokers(world: World) -> None:
    page = world.page()
    places = sorted({(topic, partition) for _, topic, partition in world.truth.lags})
    for metric, true in (
        ("mq_log_start_offset", start_offsets(world.bootstrap, places)),
        ("mq_log_end_offset", end_offsets(world.bootstrap, places)),
    ):
        shown = {
            (topic, partition): page.value(metric, destination=topic, partition=str(partition))
            for topic, partition in places
        }
        assert shown == true


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_of_both_protocols_are_seen(world: World, protocol: str) -> None:
    group, topic = f"truth-reads-{protocol}", f"truth-live-{protocol}"
    page = world.exporter.wait(
        lambda p: p.value("mq_consumers", group=group, destination=topic) == 1, "the member"
    )
    assert page.value("mq_group_members", group=group) == 1
    assert page.value("mq_group_state", group=group, state="stable") == 1
    assert sum(page.find("mq_group_state", group=group).values()) == 1


def test_a_group_without_members_has_none(world: World) -> None:
    page = world.page()
    assert page.value("mq_consumers", group="truth-behind") == 0
    assert page.value("mq_group_members", group="truth-behind") == 0
    assert page.value("mq_group_state", group="truth-behind", state="empty") == 1


def test_a_group_that_never_commits_is_seen(world: World) -> None:
    group = "truth-never-commits"
    page = world.exporter.wait(
        lambda p: p.value("mq_uncommitted_partitions", group=group) == 1, "the uncommitted"
    )
    assert page.value("mq_uncommitted_messages", group=group) == 8
    assert page.find("mq_lag_messages", group=group) == {}


def test_the_margin_to_retention(world: World) -> None:
    page = world.page()
    assert page.value("mq_retention_margin_messages", group="truth-above-start") == 30
    assert page.value("mq_retention_margin_messages", group="truth-below-start") == 0
    assert page.value("mq_retention_margin_messages", group="truth-behind") == 0


def test_what_was_so_before_the_exporter_came_is_no_event(world: World) -> None:
    page = world.page()
    for metric in ("mq_messages_lost_total", "mq_offset_rewinds_total"):
        assert set(page.find(metric).values()) == {0.0}, metric


def test_a_position_past_the_end_is_counted_even_if_it_was_so_before(world: World) -> None:
    page = world.page()
    metric = "mq_position_anomalies_total"
    counted = {
        (found["group"], found["kind"])
        for labels, count in page.find(metric).items()
        for found in [dict(labels)]
        if count
    }
    assert counted == {("truth-past-end", "past_end")}
    assert page.value("mq_past_end_messages", group="truth-past-end") == 5_000 - 100


def test_static_labels_are_on_all_series_of_the_source(world: World) -> None:
    page = world.page()
    bare = {
        name
        for name, labels in page.series
        if ("source", "test") in labels and ("team", "a") not in labels
    }
    assert bare == set()


def test_an_open_transaction_shows_while_it_is_open(world: World) -> None:
    topic = "truth-marker"
    end = end_offsets(world.bootstrap, [(topic, 0)])[topic, 0]
    with transaction(world.bootstrap) as producer:
        produce_in(producer, topic, 0, 4)
        page = world.exporter.wait(
            lambda p: p.find("mq_last_stable_offset", destination=topic) != {}, "the transaction"
        )
        assert page.value("mq_last_stable_offset", destination=topic) == end
    world.exporter.wait(
        lambda p: p.find("mq_last_stable_offset", destination=topic) == {}, "its end"
    )
    for group in ("truth-on-marker", "truth-before-marker"):
        world.truth.lags[group, topic, 0] = {"truth-on-marker": 6, "truth-before-marker": 8}[group]
    world.truth.bounds.add(("truth-on-marker", topic))
    world.exporter.wait(lambda p: p.lags() == world.truth.lags, "lags to be true")


def test_counters_follow_what_was_produced_and_consumed(world: World) -> None:
    group, topic = "truth-counted", "truth-counted"
    create_topic(world.bootstrap, topic, 2, 3)
    commit_offsets(world.bootstrap, group, {(topic, 0): 0, (topic, 1): 0})
    counted = {"group": group, "destination": topic}
    world.wait(lambda p: p.value("mq_consumed_messages_total", **counted) == 0, "the group")
    produce(world.bootstrap, topic, 0, 300)
    produce(world.bootstrap, topic, 1, 200)
    commit_offsets(world.bootstrap, group, {(topic, 0): 120, (topic, 1): 30})
    page = world.wait(
        lambda p: p.value("mq_consumed_messages_total", **counted) == 150, "what was consumed"
    )
    assert page.value("mq_subscription_produced_messages_total", **counted) == 500
    assert page.value("mq_produced_messages_total", destination=topic, partition="0") == 300
    assert page.value("mq_lag_messages", **counted, partition="0") == 180
    commit_offsets(world.bootstrap, group, {(topic, 0): 100})
    page = world.wait(lambda p: p.value("mq_offset_rewinds_total", **counted) == 1, "the rewind")
    assert page.value("mq_consumed_messages_total", **counted) == 150
    delete_records(world.bootstrap, {(topic, 0): 250})
    page = world.wait(lambda p: p.value("mq_messages_lost_total", **counted) == 150, "the loss")
    assert page.value("mq_lag_messages", **counted, partition="0") == 50
    assert world.exporter.cycles(3).value("mq_messages_lost_total", **counted) == 150
    commit_offsets(world.bootstrap, group, {(topic, 1): 1000})
    page = world.wait(
        lambda p: p.value("mq_position_anomalies_total", **counted, kind="past_end") == 1,
        "the anomaly",
    )
    assert page.value("mq_lag_messages", **counted, partition="1") == 0
    for partition, lag in ((0, 50), (1, 0)):
        world.truth.lags[group, topic, partition] = lag


def test_a_group_that_deletes_what_it_has_read_loses_nothing(world: World) -> None:
    """As Kafka Streams does with its repartition topics."""
    group, topic = "truth-deletes", "truth-deletes"
    create_topic(world.bootstrap, topic, 1, 3)
    commit_offsets(world.bootstrap, group, {(topic, 0): 0})
    sub = {"group": group, "destination": topic}
    world.wait(lambda p: p.value("mq_consumed_messages_total", **sub) == 0, "the group")
    for read in range(20, 120, 20):
        produce(world.bootstrap, topic, 0, 20)
        commit_offsets(world.bootstrap, group, {(topic, 0): read})
        delete_records(world.bootstrap, {(topic, 0): read})
    page = world.wait(
        lambda p: p.value("mq_consumed_messages_total", **sub) == 100, "what was consumed"
    )
    assert page.value("mq_messages_lost_total", **sub) == 0
    assert page.value("mq_lag_messages", **sub, partition="0") == 0
    world.truth.lags[group, topic, 0] = 0
