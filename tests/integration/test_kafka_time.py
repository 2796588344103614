"""The age of every backlog, compared with the times at which its records were enqueued."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import pytest

from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import LogTimes, TimestampAnomaly, Until
from exporter.name_filter import NameMatcher
from testbed.exporter import Exporter, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import (
    admin_client,
    alter_topic,
    commit_offsets,
    committed_offsets,
    create_topic,
    delete_records,
    delete_topic,
    produce,
    produce_transaction,
)
from testbed.kafka_reading import read_timestamps
from testbed.waiting import wait_until
from tests.support.ages import Ages, Clock, Heads, Key, scrape_ages, scrape_some

METHODS = ("auto", "time_index", "record")
"""Sources of the daemon with different methods for ages, each named after its method."""
BLIND = "blind"
"""A source whose user may read no record."""
COARSE = "coarse"
"""A source that shows subscriptions, not partitions, and polls the times three times as rarely."""
HEADER = "header"
"""A source whose ages come from a header."""
SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
HOSTILE = ('quote"', "back\\slash", "new\nline", "🙂", "sp ace/{},=", "x" * 240)
LONG_TOPIC = "time-" + "l" * 244
COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.001",
    "segment.ms": "100",
    "min.compaction.lag.ms": "0",
}
WEEK = {"retention.ms": str(7 * DAY)}


@dataclass
class Data:
    """What the tests have written, and what must therefore be shown."""

    bootstrap: str
    now: int
    """Unix time in milliseconds, to which the others are relative."""
    heads: dict[Key, float | None] = field(default_factory=dict)
    """When the oldest unread record of each position was enqueued; None if there is none."""
    disordered: set[str] = field(default_factory=set)
    """Topics in which lookups by timestamp cannot give the true times."""

    def write(
        self,
        topic: str,
        *partitions: Sequence[int],
        config: Mapping[str, str] | None = None,
        value: bytes = b"v",
    ) -> None:
        """Create a topic with records that have these timestamps, relative to `now`."""
        create_topic(self.bootstrap, topic, len(partitions), 1, config)
        for partition, stamps in enumerate(partitions):
            self.add(topic, partition, stamps, value=value)

    def add(self, topic: str, partition: int, stamps: Sequence[int], value: bytes = b"v") -> None:
        produce(
            self.bootstrap,
            topic,
            partition,
            len(stamps),
            value=value,
            timestamp_ms=lambda i: self.now + stamps[i],
        )

    def stand(
        self, topic: str, offset: int, head: int | None, group: str = "", part: int = 0
    ) -> None:
        """Commit, and store the timestamp (relative to `now`) of the oldest unread record."""
        self.commit(topic, {part: offset}, {part: head}, group)

    def commit(
        self,
        topic: str,
        offsets: Mapping[int, int],
        heads: Mapping[int, int | None],
        group: str = "",
    ) -> None:
        """The same for several partitions."""
        group = group or f"{topic}-at-{'-'.join(map(str, offsets.values()))}"
        commit_offsets(self.bootstrap, group, {(topic, p): o for p, o in offsets.items()})
        for partition, head in heads.items():
            known = None if head is None else (self.now + head) / 1000
            self.heads[group, topic, partition] = known

    def of(self, *topics: str) -> Heads:
        return {key: head for key, head in self.heads.items() if key[1] in topics}


def write(bootstrap: str) -> tuple[Data, Clock]:
    data = Data(bootstrap, int(time.time() * 1000))
    appended = write_appended(data)
    clock = write_clock(data)
    write_ordered(data)
    write_disordered(data)
    write_switched(data)
    write_gaps(data)
    write_headers(data)
    appended()
    return data, clock


def write_clock(data: Data) -> Clock:
    topic = group = "time-clock"
    create_topic(data.bootstrap, topic)
    head = data.now - DAY
    produce(
        data.bootstrap,
        topic,
        timestamp_ms=head,
        headers=[("timestamp", str(head).encode())],
    )
    data.stand(topic, 0, -DAY, group)
    return Clock(group, topic, head / 1000)


def write_ordered(data: Data) -> None:
    hour = [-3660 * SECOND + i * 6 * SECOND for i in range(600)]
    data.write("time-steady", hour, hour, hour)
    for offset in (0, 1, 299, 598, 599):
        data.stand("time-steady", offset, hour[offset])
    data.stand("time-steady", 600, None)
    data.commit("time-steady", {0: 300, 1: 600, 2: 20}, {0: hour[300], 1: None, 2: hour[20]})

    bursts = [-2 * HOUR + (i // 100) * 720 * SECOND + i % 100 * 3 for i in range(500)]
    data.write("time-bursts", bursts)
    for offset in (0, 99, 100, 101, 250, 399, 400, 499):
        data.stand("time-bursts", offset, bursts[offset])

    stopped = [-2 * DAY - HOUR + i * 12 * SECOND for i in range(300)]
    data.write("time-stopped", stopped, config=WEEK)
    for offset in (0, 150, 299):
        data.stand("time-stopped", offset, stopped[offset])

    replay = [-6 * DAY + i * 288 * SECOND for i in range(300)]
    data.write("time-replay", replay)
    for offset in (0, 7, 128, 298, 299):
        data.stand("time-replay", offset, replay[offset])

    data.write("time-idle", [-5 * DAY])
    data.stand("time-idle", 0, -5 * DAY)
    data.stand("time-idle", 1, None)

    equal = [-HOUR] * 100
    data.write("time-equal", equal)
    for offset in (0, 50, 99):
        data.stand("time-equal", offset, -HOUR)

    data.write(LONG_TOPIC, [-DAY + i * HOUR for i in range(len(HOSTILE))])
    for number, name in enumerate(HOSTILE):
        data.stand(LONG_TOPIC, number, -DAY + number * HOUR, f"time-{name}")

    deleted = [-5 * DAY + i * HOUR for i in range(100)]
    data.write("time-deleted", deleted, deleted)
    delete_records(data.bootstrap, {("time-deleted", 0): 60, ("time-deleted", 1): 100})
    data.stand("time-deleted", 10, deleted[60])
    data.stand("time-deleted", 60, deleted[60], "time-deleted-at-start")
    data.stand("time-deleted", 80, deleted[80])
    data.stand("time-deleted", 10, None, "time-deleted-whole", 1)

    data.write("time-past-end", hour[:100])
    data.stand("time-past-end", 5000, None)
    data.write("time-empty", [])
    data.stand("time-empty", 0, None)

    data.write("time-sizes", hour[:10], value=b"v" * 1000)
    data.stand("time-sizes", 2, hour[2])


def write_disordered(data: Data) -> None:
    """A replay of last week after newer records, and today's records after it."""
    before = [-2 * HOUR + i * 18 * SECOND for i in range(200)]
    replayed = [-6 * DAY + i * 60 * SECOND for i in range(200)]
    after = [-20 * 60 * SECOND + i * 60 * SECOND for i in range(20)]
    stamps = [*before, *replayed, *after]
    data.write("time-behind", stamps)
    for offset in (0, 100, 200, 201, 250, 399, 400, 410):
        data.stand("time-behind", offset, stamps[offset])
    data.disordered.add("time-behind")

    late = {"message.timestamp.after.max.ms": str(10 * DAY)}
    data.write("time-future", [-HOUR, DAY, -60 * SECOND], config=late)
    data.stand("time-future", 0, -HOUR)
    data.stand("time-future", 1, DAY)
    data.stand("time-future", 2, -60 * SECOND)
    data.disordered.add("time-future")


def write_switched(data: Data) -> None:
    """Topics whose timestamps were set by the producers and later by the broker, or vice versa.

    The timestamps of the producers are not in order.
    """
    stamps = [-91 * SECOND + i * 10 for i in range(50)] + [
        -3623 * SECOND + i * 10 for i in range(50)
    ]
    for topic, before, after in (
        ("time-switched", "CreateTime", "LogAppendTime"),
        ("time-unswitched", "LogAppendTime", "CreateTime"),
    ):
        create_topic(data.bootstrap, topic, 1, 1, {"message.timestamp.type": before})
        data.add(topic, 0, stamps)
        alter_topic(data.bootstrap, topic, {"message.timestamp.type": after})
        data.add(topic, 0, stamps)
        found = read_timestamps(data.bootstrap, topic)
        for offset in (0, 30, 60, 99, 100, 130, 160, 199):
            data.stand(topic, offset, found[offset] - data.now)
        data.disordered.add(topic)


def write_gaps(data: Data) -> None:
    """Offsets without a record."""
    bootstrap, now = data.bootstrap, data.now

    create_topic(bootstrap, "time-marker")
    ago = [-3 * HOUR + i * 60 * SECOND for i in range(5)]
    produce_transaction(bootstrap, "time-marker", n=5, timestamp_ms=lambda i: now + ago[i])
    data.stand("time-marker", 5, None)
    data.stand("time-marker", 3, ago[3])

    create_topic(bootstrap, "time-aborted")
    data.add("time-aborted", 0, [-5 * HOUR] * 10)
    produce_transaction(bootstrap, "time-aborted", n=7, commit=False, timestamp_ms=now - 4 * HOUR)
    data.stand("time-aborted", 10, -4 * HOUR, "time-uncommitted-aborted")
    data.stand("time-aborted", 10, -2 * HOUR, "time-committed-aborted")
    data.add("time-aborted", 0, [-2 * HOUR])

    create_topic(bootstrap, "time-aborted-last")
    data.add("time-aborted-last", 0, [-5 * HOUR] * 10)
    produce_transaction(
        bootstrap, "time-aborted-last", n=7, commit=False, timestamp_ms=now - 4 * HOUR
    )
    data.stand("time-aborted-last", 10, -4 * HOUR, "time-uncommitted-last")
    data.stand("time-aborted-last", 10, None, "time-committed-last")
    data.stand("time-aborted-last", 9, -5 * HOUR, "time-committed-before-last")

    create_topic(bootstrap, "time-compacted", 1, 1, COMPACTED)
    produce(
        bootstrap,
        "time-compacted",
        n=100,
        key=lambda i: b"first" if i == 0 else b"same",
        timestamp_ms=lambda i: now - DAY + i * 60 * SECOND,
    )
    left = wait_for_gap(bootstrap, "time-compacted", range(1, 99))
    data.stand("time-compacted", 0, left[0] - now)
    data.stand("time-compacted", 40, left[min(o for o in left if o >= 40)] - now)
    data.disordered |= {
        "time-marker",
        "time-aborted",
        "time-aborted-last",
        "time-compacted",
    }


def wait_for_gap(bootstrap: str, topic: str, gap: range) -> dict[int, int]:
    """Write until the cleaner has removed these records.

    Returns the timestamps of those that are left.
    """

    def left() -> dict[int, int] | None:
        found = read_timestamps(bootstrap, topic)
        if not found.keys() & set(gap):
            return found
        produce(bootstrap, topic, key=b"new")
        return None

    found = wait_until(left, "the log cleaner", 120, poll_seconds=0.3)
    assert found is not None
    return found


def write_appended(data: Data) -> Callable[[], None]:
    """A topic with broker timestamps, in two bursts.

    The returned function writes the second burst and the positions.
    """
    topic = "time-appended"
    create_topic(data.bootstrap, topic, 1, 1, {"message.timestamp.type": "LogAppendTime"})
    produce(data.bootstrap, topic, n=50, timestamp_ms=data.now - 3 * DAY)

    def go_on() -> None:
        produce(data.bootstrap, topic, n=50, timestamp_ms=data.now - 3 * DAY)
        stamps = read_timestamps(data.bootstrap, topic)
        for offset in (0, 20, 49, 50, 70, 99):
            data.stand(topic, offset, stamps[offset] - data.now)

    return go_on


HEADERS: Sequence[Callable[[int], bytes]] = (
    lambda ms: str(ms // 1000).encode(),
    lambda ms: f"{ms / 1000:.3f}".encode(),
    lambda ms: str(ms).encode(),
    lambda ms: str(ms * 1000).encode(),
    lambda ms: struct.pack(">q", ms),
    lambda ms: struct.pack(">q", ms // 1000),
    lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z").encode(),
    lambda ms: (
        datetime.fromtimestamp(ms / 1000, timezone(timedelta(hours=-5))).isoformat().encode()
    ),
    lambda ms: datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None).isoformat().encode(),
)


def write_headers(data: Data) -> None:
    """A record with each form of header, and two records without a time in their header.

    The headers give whole numbers of hours ago.
    """
    topic = "time-header"
    create_topic(data.bootstrap, topic)
    whole = data.now // 1000 * 1000
    for number, form in enumerate(HEADERS):
        enqueued = whole - (number + 1) * HOUR
        stamp = [("timestamp", b"soon"), ("other", b"1"), ("timestamp", form(enqueued))]
        produce(data.bootstrap, topic, headers=stamp, timestamp_ms=data.now)
        data.stand(topic, number, enqueued - data.now)
    count = len(HEADERS)
    for number, headers in enumerate(([], [("timestamp", b"soon")])):
        produce(data.bootstrap, topic, headers=headers, timestamp_ms=data.now - 90 * SECOND)
        data.stand(topic, count + number, -90 * SECOND)


@dataclass(frozen=True)
class World:
    exporter: Exporter
    bootstrap: str
    data: Data
    clock: Clock
    groups: frozenset[str]
    """Groups that existed before the daemon."""
    committed: Mapping[str, Mapping[tuple[str, int], int]]

    def wait(
        self, source: str, condition: Callable[[Ages], bool], what: str, heads: Heads | None = None
    ) -> Ages:
        """Return the first ages for which the condition holds.

        None before them may have an error larger than its bound.
        """

        def holds() -> Ages | None:
            found = scrape_ages(self.exporter, self.clock, source)
            if found is None:
                return None
            assert found.lies(self.data.heads if heads is None else heads) == {}
            return found if condition(found) else None

        found = wait_until(holds, what, 60, poll_seconds=0.1)
        assert found is not None
        return found

    def fresh(self, source: str) -> Ages:
        """Return the ages of a poll that began after this call."""
        begun = time.time()
        return self.wait(source, lambda page: page.at > begun, "another look")

    def value(self, source: str, metric: str, **labels: str) -> float | None:
        """Return the value that is exposed now."""
        return scrape_some(self.exporter, source, metric).value(metric, **labels)


def groups_of(bootstrap: str) -> frozenset[str]:
    client = admin_client(bootstrap)
    return frozenset(g.group_id for g in client.list_consumer_groups().result(60).valid)


@pytest.fixture(scope="module")
def world(local_kafka: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data, clock = write(local_kafka.bootstrap)
    common = {
        "groups": {"include": ["time-.*"]},
        "read_committed_groups": ["time-committed-.*"],
        "probe": {"enabled": False},
    }
    plain = {"destinations": {"include": ["time-.*"], "exclude": ["time-header"]}, **common}
    by_header = {"destinations": {"include": ["time-header", "time-clock"]}, **common}
    bootstrap = local_kafka.bootstrap
    sources = [
        kafka_source(bootstrap, "auto", **plain),
        kafka_source(bootstrap, "time_index", timestamps={"method": "time_index"}, **plain),
        kafka_source(bootstrap, "record", timestamps={"method": "record"}, **plain),
        kafka_source(bootstrap, HEADER, timestamps={"header": "timestamp"}, **by_header),
        kafka_source(
            bootstrap,
            COARSE,
            granularity="subscription",
            schedule={"backlog": "1s", "latency": "3s", "consumers": "30s", "discovery": "2s"},
            **plain,
        ),
        blind_source(local_kafka, **plain),
    ]
    schedule = {"backlog": "1s", "latency": "1s", "consumers": "30s", "discovery": "2s"}
    committed = {group: committed_offsets(bootstrap, group) for group, _, _ in data.heads}
    groups = groups_of(bootstrap)
    folder = tmp_path_factory.mktemp("time")
    with Exporter(folder, sources, defaults={"schedule": schedule}) as exporter:
        yield World(exporter, bootstrap, data, clock, groups, committed)


def blind_source(kafka: KafkaCluster, **more: object) -> dict[str, object]:
    kafka.add_user("time-blind")
    for operations, resource in ((["describe"], "topic"), (["describe"], "group")):
        kafka.allow("time-blind", operations, resource, "time-", prefixed=True)  # type: ignore[arg-type]
    for topic in ("time-appended", "time-switched", "time-unswitched", "time-stopped"):
        kafka.allow("time-blind", ["describe_configs"], "topic", topic)
    client = kafka.client_config("sasl", "time-blind", mechanism="SCRAM-SHA-512")
    servers = str(client.pop("bootstrap.servers"))
    return kafka_source(servers, BLIND, client=client, **more)


# All requested records can be read


@pytest.mark.parametrize("source", METHODS)
def test_every_age_is_exact_where_records_may_be_read(world: World, source: str) -> None:
    heads = {key: head for key, head in world.data.heads.items() if key[1] != "time-header"}
    page = world.wait(source, lambda p: not p.inexact(heads), "every age to be exact")
    assert page.ages.keys() == heads.keys()


@pytest.mark.parametrize("source", METHODS)
def test_ages_stay_exact_and_say_so(world: World, source: str) -> None:
    heads = {key: head for key, head in world.data.heads.items() if key[1] != "time-header"}
    subs = {key[:2] for key in heads}
    world.wait(source, lambda p: p.bounds.keys() == subs, "every bound")
    page = world.fresh(source)
    assert (page.inexact(heads), page.lies(heads)) == ({}, {})
    assert page.bounds.keys() == subs
    assert max(page.bounds.values()) <= 0.002


@pytest.mark.parametrize(
    ("source", "method"),
    [
        ("auto", "record"),
        ("time_index", "time_index"),
        ("record", "record"),
        (HEADER, "record"),
        (BLIND, "time_index"),
    ],
)
def test_each_subscription_says_once_how_its_age_was_found(
    world: World, source: str, method: str
) -> None:
    header = "time-header"
    subs = {
        (group, topic)
        for group, topic, _ in world.data.heads
        if (topic == header) == (source == HEADER) or topic == "time-clock"
    }
    page = world.wait(source, lambda p: p.methods.keys() == subs, "every method")
    assert {len(said) for said in page.methods.values()} == {1}
    lagging = {key[:2] for key, head in world.data.heads.items() if head is not None}
    assert {page.methods[sub][0] for sub in lagging & subs} == {method}


def test_a_subscription_shows_the_largest_age_of_its_partitions(world: World) -> None:
    oldest: dict[Key, float | None] = {}
    for (group, topic, _), head in world.data.heads.items():
        if topic != "time-header":
            known = oldest.get((group, topic, -1))
            oldest[group, topic, -1] = known if head is None else min(head, known or head)
    page = world.wait(COARSE, lambda p: not p.inexact(oldest), "every age to be exact", oldest)
    assert page.ages.keys() == oldest.keys()


@pytest.mark.parametrize("source", METHODS)
def test_a_timestamp_to_come_counts_once(world: World, source: str) -> None:
    def count() -> float | None:
        return world.value(source, "mq_timestamp_anomalies_total", kind="future")

    wait_until(lambda: count() == 1, "the anomaly", 30)
    world.fresh(source)
    world.fresh(source)
    assert count() == 1


@pytest.mark.parametrize("kind", ["missing", "unreadable"])
def test_a_header_that_is_missing_or_unreadable_counts_once(world: World, kind: str) -> None:
    heads = world.data.of("time-header", "time-clock")
    world.wait(HEADER, lambda p: not p.inexact(heads), "the ages")
    assert world.value(HEADER, "mq_timestamp_anomalies_total", kind=kind) == 1


def test_every_form_of_header_tells_the_age(world: World) -> None:
    heads = world.data.of("time-header", "time-clock")
    page = world.wait(HEADER, lambda p: not p.inexact(heads), "the ages")
    assert page.ages.keys() == heads.keys()
    assert max(page.bounds.values()) <= 0.002


def test_the_size_of_a_message_is_that_of_those_that_were_read(world: World) -> None:
    world.wait("auto", lambda p: not p.inexact(world.data.of("time-sizes")), "the age")
    sizes = {"time-sizes": 1000, "time-steady": 1, "time-empty": None}
    for topic, size in sizes.items():
        assert world.value("auto", "mq_message_size_bytes", destination=topic) == size


@pytest.mark.parametrize("source", [*METHODS, BLIND])
def test_the_time_to_loss_of_a_stopped_group_is_what_retention_leaves(
    world: World, source: str
) -> None:
    sub = {"group": "time-stopped-at-150", "destination": "time-stopped"}
    caught_up = {"group": "time-idle-at-1", "destination": "time-idle"}

    def known() -> tuple[float, float] | None:
        page = scrape_some(world.exporter, source, "mq_lag_seconds", "mq_time_to_loss_seconds")
        age, loss = (page.value(m, **sub) for m in ("mq_lag_seconds", "mq_time_to_loss_seconds"))
        return None if age is None or loss is None else (age, loss)

    age, loss = wait_until(known, "the time to loss", 60) or (0.0, 0.0)
    assert loss == pytest.approx(7 * DAY / 1000 - age, abs=0.002)
    without_lag = world.value(source, "mq_time_to_loss_seconds", **caught_up)
    assert without_lag == (None if source == BLIND else float("inf"))


# No record can be read


def test_lookups_alone_tell_ages_within_the_tolerance(world: World) -> None:
    heads = {
        key: head
        for key, head in world.data.heads.items()
        if key[1] not in world.data.disordered | {"time-header"}
    }
    page = world.wait(BLIND, lambda p: not p.wrong(heads), "the ages")
    assert page.ages.keys() >= heads.keys()


def test_what_can_not_be_checked_is_no_promise(world: World) -> None:
    """Not even if the broker sets the timestamps.

    It may have done so only for a while, and a marker is no record.
    """
    heads = world.data.heads
    page = world.wait(BLIND, lambda p: not p.wrong(world.data.of("time-appended")), "the ages")
    lagging = {key[:2] for key, head in heads.items() if head is not None}
    assert {key[:2] for key in page.ages} >= {key[:2] for key in world.data.of("time-switched")}
    assert page.bounds.keys() & lagging == set()


def test_no_right_to_read_is_no_failure(world: World) -> None:
    world.wait(BLIND, lambda p: not p.wrong(world.data.of("time-steady")), "the ages")
    world.fresh(BLIND)
    world.fresh(BLIND)
    page = scrape_some(world.exporter, BLIND, "mq_collect_")
    assert set(page.find("mq_collect_failures_total").values()) <= {0.0}
    assert page.value("mq_collect_success", task="latency") == 1


# Changes while the daemon runs


def test_behind_a_marker_the_age_is_that_of_the_next_record(world: World) -> None:
    """Not the age of the marker, which has a timestamp too."""
    data, topic = world.data, "time-next"
    create_topic(world.bootstrap, topic)
    produce_transaction(world.bootstrap, topic, n=3, timestamp_ms=data.now - 3 * HOUR)
    data.stand(topic, 3, None, topic)
    nothing = data.of(topic)
    for source in METHODS:
        world.wait(source, lambda p: not p.inexact(nothing), "no age")
    del data.heads[topic, topic, 0]
    next_one = int(time.time() * 1000) - 10 * 60 * SECOND
    produce_transaction(world.bootstrap, topic, n=2, timestamp_ms=next_one)
    heads = {(topic, topic, 0): next_one / 1000}
    for source in METHODS:
        page = world.wait(source, lambda p: not p.inexact(heads), "the age of the next record")
        assert page.bounds[topic, topic] <= 0.002
    data.heads.update(heads)


def test_a_topic_made_anew_has_the_ages_of_its_new_records(world: World) -> None:
    """Also if it is longer than the old one, and if times are polled rarely."""
    data, topic = world.data, "time-anew"

    def made(stamps: Sequence[int], source: str) -> Heads:
        return {(topic, topic, -1 if source == COARSE else 0): (data.now + stamps[10]) / 1000}

    ages = [-3 * HOUR + i * 60 * SECOND for i in range(50)]
    for _ in range(2):
        data.write(topic, ages)
        commit_offsets(world.bootstrap, topic, {(topic, 0): 10})
        for source in (*METHODS, COARSE, BLIND):
            heads = made(ages, source)
            world.wait(source, lambda p, heads=heads: not p.wrong(heads), "the age", {})  # type: ignore[misc]
        if len(ages) == 50:
            delete_topic(world.bootstrap, topic)
            ages = [-5 * HOUR + i * 60 * SECOND for i in range(100)]
    for source in (*METHODS, COARSE, BLIND):
        assert world.fresh(source).wrong(made(ages, source)) == {}
    data.heads.update(made(ages, "auto"))


def test_a_topic_that_was_away_for_one_look_is_another(world: World) -> None:
    """Whichever of the tasks notices its absence."""
    data, topic = world.data, "times-away"
    collector = KafkaCollector(
        KafkaSettings(
            "away",
            {"bootstrap.servers": world.bootstrap},
            destinations=NameMatcher((topic,)),
            groups=NameMatcher((topic,)),
        )
    )

    def age() -> float:
        found = collector.latency(Until(60))
        return found.at - found.stamps[topic, topic].times[0]

    data.write(topic, [-HOUR] * 20)
    commit_offsets(world.bootstrap, topic, {(topic, 0): 10})
    collector.discovery(Until(60))
    collector.backlog(Until(60))
    assert age() == pytest.approx(HOUR / 1000, abs=300)
    delete_topic(world.bootstrap, topic)
    collector.backlog(Until(60))
    collector.discovery(Until(60))
    data.write(topic, [-2 * HOUR] * 20)
    commit_offsets(world.bootstrap, topic, {(topic, 0): 10})
    collector.backlog(Until(60))
    assert age() == pytest.approx(2 * HOUR / 1000, abs=300)
    collector.discovery(Until(60))
    recreated = [collector.backlog(Until(60)).recreated for _ in range(2)]
    assert recreated == [{topic}, frozenset()]
    collector.close()


def test_a_topic_made_anew_between_two_looks_is_another_at_once(world: World) -> None:
    """Even if its offsets do not show it: as many records, the same position."""
    topic = "times-swapped"
    collector = KafkaCollector(
        KafkaSettings(
            "swapped",
            {"bootstrap.servers": world.bootstrap},
            destinations=NameMatcher((topic,)),
            groups=NameMatcher((topic,)),
        )
    )
    for hours in (1, 9, 2):
        world.data.write(topic, [-hours * HOUR] * 100)
        commit_offsets(world.bootstrap, topic, {(topic, 0): 50})
        collector.backlog(Until(60))
        look = collector.latency(Until(60))
        stamps = look.stamps[topic, topic]
        assert stamps.times[0] == pytest.approx((world.data.now - hours * HOUR) / 1000, abs=0.01)
        assert 0 <= stamps.errors[0] <= 0.002
        collector.discovery(Until(60))
        delete_topic(world.bootstrap, topic)
    collector.close()


def test_an_age_is_of_the_record_that_is_left_when_others_are_deleted(world: World) -> None:
    data, topic = world.data, "time-trimmed"
    stamps = [-4 * DAY + i * HOUR for i in range(50)]
    data.write(topic, stamps)
    data.stand(topic, 10, stamps[10], topic)
    for source in METHODS:
        world.wait(source, lambda p: not p.inexact(data.of(topic)), "the age")
    del data.heads[topic, topic, 0]
    delete_records(world.bootstrap, {(topic, 0): 30})
    heads = {(topic, topic, 0): (data.now + stamps[30]) / 1000}
    for source in METHODS:
        world.wait(source, lambda p: not p.inexact(heads), "the age of what is left")
    data.heads.update(heads)


# Timestamps in another unit than milliseconds


def collector_of(
    kafka: KafkaCluster, name: str, *, blind: bool = False, **settings: Any
) -> KafkaCollector:
    """A collector of one topic, which a group with the same name reads."""
    client = {"bootstrap.servers": kafka.bootstrap}
    if blind:
        kafka.allow("time-blind", ["describe"], "topic", name)
        kafka.allow("time-blind", ["describe"], "group", name)
        config = kafka.client_config("sasl", "time-blind", mechanism="SCRAM-SHA-512")
        client = {key: str(value) for key, value in config.items()}
    names = NameMatcher((name,))
    return KafkaCollector(
        KafkaSettings(name, client, destinations=names, groups=names, probe=False, **settings)
    )


def times_of(collector: KafkaCollector, name: str, looks: int = 3) -> LogTimes:
    """Return the times after some polls; their anomalies are added up."""
    anomalies: Counter[TimestampAnomaly] = Counter()
    for _ in range(looks):
        collector.backlog(Until(60))
        found = collector.latency(Until(60))
        anomalies.update(found.anomalies)
    return replace(found, anomalies=anomalies)


ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1"}
"""Kafka's retention uses the timestamps too: it would delete records of 1970 at once."""
UNITS: Mapping[str, Callable[[int], int]] = {
    "seconds": lambda ms: ms // 1000,
    "microseconds": lambda ms: ms * 1000,
    "nanoseconds": lambda ms: ms * 1_000_000,
}


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_timestamps_in_another_unit_are_counted_and_are_no_age(
    local_kafka: KafkaCluster, world: World, unit: str, blind: bool
) -> None:
    topic = f"times-{unit}-{'blind' if blind else 'seeing'}"
    now = int(time.time() * 1000)
    create_topic(world.bootstrap, topic, 1, 1, ANY_TIME)
    produce(
        world.bootstrap, topic, n=20, timestamp_ms=lambda i: UNITS[unit](now - HOUR + i * SECOND)
    )
    commit_offsets(world.bootstrap, topic, {(topic, 0): 10})
    collector = collector_of(local_kafka, topic, blind=blind)
    found = times_of(collector, topic)
    assert found.stamps[topic, topic].partitions == []
    assert found.anomalies == {"unreadable": 1 if blind else 2, "future": 0}
    collector.close()


def test_a_producer_of_another_unit_between_others_gets_their_age_without_a_bound(
    local_kafka: KafkaCluster, world: World
) -> None:
    topic = "times-mixed"
    now = int(time.time() * 1000)
    stamps = [now - HOUR + i * SECOND for i in range(100)]
    odd = {50: stamps[50] // 1000}
    create_topic(world.bootstrap, topic)
    produce(world.bootstrap, topic, n=100, timestamp_ms=lambda i: odd.get(i, stamps[i]))
    collector = collector_of(local_kafka, topic)
    for offset, is_odd in ((49, False), (50, True), (51, False)):
        commit_offsets(world.bootstrap, topic, {(topic, 0): offset})
        found = times_of(collector, topic).stamps[topic, topic]
        assert found.times[0] == pytest.approx(stamps[offset] / 1000, abs=40 if is_odd else 0.001)
        assert found.errors[0] == (-1.0 if is_odd else 0.0)
    collector.close()


@pytest.mark.parametrize("method", ["auto", "time_index"])
def test_an_age_of_a_topic_that_was_switched_is_true_or_no_promise(
    local_kafka: KafkaCluster, world: World, method: Literal["auto", "time_index"]
) -> None:
    """Also at the first poll, whatever was read by then.

    In the end every record was read, and all are exact.
    """
    topic = "time-switched"
    collector = collector_of(local_kafka, topic, method=method)
    collector._filters._groups.update(dict.fromkeys((k[0] for k in world.data.of(topic)), True))
    collector.discovery(Until(60))
    for number in range(4):
        collector.backlog(Until(60))
        found = collector.latency(Until(60))
        exact = []
        for (group, _, _), head in world.data.of(topic).items():
            stamps = found.stamps[group, topic]
            for when, error in zip(stamps.times, stamps.errors, strict=True):
                off = abs(when - (head or 0.0))
                assert error < 0 or off <= error + 0.001, (number, group, off, error)
                exact.append(off < 0.001 and error >= 0)
    assert exact
    assert all(exact)
    collector.close()


# Nothing is changed


def test_the_exporter_joins_no_group_and_commits_nothing(world: World) -> None:
    """Runs last, after all reads."""
    bootstrap = world.bootstrap
    for group, before in world.committed.items():
        assert committed_offsets(bootstrap, group) == before
    mine = {group for group, _, _ in world.data.heads}
    strangers = {
        group
        for group in groups_of(bootstrap) - world.groups - mine
        if group.startswith(("time-", "mq-lag-exporter"))
    }
    assert strangers == set()
    client = admin_client(bootstrap)
    described = client.describe_consumer_groups(["mq-lag-exporter-reader"])
    assert described["mq-lag-exporter-reader"].result(30).members == []
