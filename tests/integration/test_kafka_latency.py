"""Ages, latencies and commit intervals under load, and the time until retention loses messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer

from testbed.background import Background
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import Kafka
from testbed.kafka_data import (
    commit_offsets,
    committed_offsets,
    create_topic,
    produce,
    produce_transaction,
)
from testbed.waiting import wait_until
from tests.support.ages import ROUNDING, Ages, Clock, parse_ages, scrape_some, tolerance

METHODS = ("auto", "time_index")
"""Sources of the daemon, each named after how it finds ages."""
LOAD_SECONDS = 16.0
SLOW_COMMITS = 3.0
"""Seconds between two commits of the slow readers."""
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
BUCKETS = (1, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)
WEEK = {"retention.ms": str(7 * DAY)}


class Source(Background):
    """Produces `count` records every `every` seconds, and keeps their timestamps."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        count: int,
        every: float,
        seconds: float,
        again: float | None = None,
    ) -> None:
        """After `again` seconds, the same number of records is produced once more."""
        super().__init__()
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "log_level": 0}
        )
        self._topic, self._count, self._every = topic, count, every
        now = time.monotonic()
        self._until, self._again = now + seconds, None if again is None else now + again
        self.stamps: dict[int, float] = {}
        """Offset to Unix time."""

    def _run(self) -> None:
        while not self._stopping.is_set() and time.monotonic() < self._until:
            self._produce()
            self._stopping.wait(self._every)
        if self._again is not None and not self._stopping.wait(self._again - time.monotonic()):
            self._produce()
        assert self._producer.flush(60) == 0

    def _produce(self) -> None:
        for _ in range(self._count):
            self._producer.produce(self._topic, b"v", partition=0, on_delivery=self._keep)
        self._producer.flush(60)

    def _keep(self, error: KafkaError | None, message: Message) -> None:
        offset = message.offset()
        assert error is None
        assert offset is not None
        self.stamps[offset] = message.timestamp()[1] / 1000


class Reader(Background):
    """A consumer that takes `pause` seconds per message and commits every `every` seconds."""

    def __init__(self, bootstrap: str, group: str, topic: str, pause: float, every: float) -> None:
        super().__init__()
        self._consumer = consumer(bootstrap, group, topic)
        self._pause, self._every = pause, every

    def _run(self) -> None:
        due = time.monotonic() + self._every
        read = False
        while not self._stopping.is_set():
            message = self._consumer.poll(0.1)
            if message is not None:
                assert message.error() is None
                read = True
                self._stopping.wait(self._pause)
            if read and time.monotonic() >= due:
                due = time.monotonic() + self._every
                self._consumer.commit(asynchronous=False)
                read = False
        self._consumer.close()


def consumer(bootstrap: str, group: str, topic: str) -> Consumer:
    made = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    made.subscribe([topic])
    return made


@dataclass(frozen=True)
class Look:
    """What one scrape shows of a source: ages, and the positions that they belong to."""

    began: float
    """When the last poll of the backlog began, in Unix time."""
    took: float
    """Seconds."""
    ages: Ages
    positions: Mapping[tuple[str, str], tuple[int, int]]
    """Committed offset and lag."""
    gaps: Mapping[tuple[str, str], float]
    """Commit intervals."""


class Watch(Background):
    """Scrapes all the time."""

    def __init__(self, exporter: Exporter, clock: Clock) -> None:
        super().__init__()
        self._exporter, self._clock = exporter, clock
        self.looks: dict[str, list[Look]] = {source: [] for source in METHODS}

    def _run(self) -> None:
        while not self._stopping.wait(0.1):
            for source, looks in self.looks.items():
                look = self._look(source)
                if look is not None:
                    looks.append(look)

    def _look(self, source: str) -> Look | None:
        page = scrape_some(
            self._exporter,
            source,
            "mq_lag_",
            "mq_committed_offset",
            "mq_commit_interval_seconds",
            "mq_collect_last_success",
            "mq_collect_duration",
        )
        ages = parse_ages(page, self._clock)
        began = page.value("mq_collect_last_success_timestamp_seconds", task="backlog")
        took = page.value("mq_collect_duration_seconds", task="backlog")
        if ages is None or began is None or took is None:
            return None
        lags = by_subscription(page, "mq_lag_messages")
        committed = by_subscription(page, "mq_committed_offset")
        positions = {sub: (int(committed[sub]), int(lags[sub])) for sub in lags}
        return Look(
            began, took, ages, positions, by_subscription(page, "mq_commit_interval_seconds")
        )

    def whole(self, source: str) -> list[Look]:
        """Return one scrape of each poll of the times, with the positions that its ages belong to.

        A scrape may have newer positions than ages. It has not if it stayed the same for two
        scrapes, and if its last poll of the backlog began before the time of the ages.
        """
        looks = self.looks[source]
        found = {
            look.ages.at: look
            for look, then in pairwise(looks)
            if look.began <= look.ages.at
            and (look.began, look.ages.at) == (then.began, then.ages.at)
        }
        return list(found.values())


def by_subscription(page: Scrape, metric: str) -> dict[tuple[str, str], float]:
    found = {}
    for labels, value in page.find(metric).items():
        names = dict(labels)
        found[names["group"], names["destination"]] = value
    return found


@dataclass
class Consumption:
    """What a consumer stored about its commits after the first: bounds of what may be observed."""

    first_seen: list[float] = field(default_factory=list)
    """Seconds from the last message's timestamp to the commit."""
    last_seen: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from the same timestamp until the metrics counted it, by source."""


@dataclass
class World:
    exporter: Exporter
    bootstrap: str
    watch: Watch
    sources: Mapping[str, Source]
    """By topic."""
    consumption: Consumption
    histogram: Mapping[str, Scrape]
    """`mq_latency_seconds` of the consumption, by source, after its end."""

    def value(self, source: str, metric: str, **labels: str) -> float | None:
        return scrape_some(self.exporter, source, metric).value(metric, **labels)


@pytest.fixture(scope="module")
def world(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    bootstrap = kafka.bootstrap
    clock = Clock("live-clock", "live-clock", write_clock(bootstrap))
    for topic in ("live-steady", "live-bursts", "live-stops"):
        create_topic(bootstrap, topic, 1, 3)
        commit_offsets(bootstrap, f"{topic}-stands", {(topic, 0): 0})
    write_latencies(bootstrap)
    common = {
        "destinations": {"include": ["live-.*"]},
        "groups": {"include": ["live-.*"]},
        "probe": {"enabled": False},
    }
    exporter = Exporter(
        tmp_path_factory.mktemp("latency"),
        [
            kafka_source(bootstrap, method, timestamps={"method": method}, **common)
            for method in METHODS
        ],
        defaults={
            "schedule": {"backlog": "1s", "latency": "1s", "consumers": "30s", "discovery": "2s"},
            "rate_window": "5s",
        },
    )
    with exporter:
        watch = Watch(exporter, clock)
        sources = {
            "live-steady": Source(bootstrap, "live-steady", 4, 0.1, LOAD_SECONDS),
            "live-bursts": Source(bootstrap, "live-bursts", 200, 3.0, LOAD_SECONDS),
            "live-stops": Source(
                bootstrap, "live-stops", 10, 0.1, LOAD_SECONDS / 3, again=LOAD_SECONDS - 4
            ),
        }
        readers = [
            Reader(bootstrap, "live-fast", "live-steady", 0.0, 0.3),
            Reader(bootstrap, "live-slow", "live-steady", 0.0, SLOW_COMMITS),
            Reader(bootstrap, "live-late", "live-steady", 0.05, 1.0),
            Reader(bootstrap, "live-bursty", "live-bursts", 0.01, 0.7),
            Reader(bootstrap, "live-idle", "live-stops", 0.0, 0.3),
        ]
        started = time.monotonic()
        workers: Sequence[Background] = [*readers, *sources.values(), watch]
        consumption = Consumption()
        with ExitStack() as stack:
            for worker in workers:  # the watch comes last and ends first
                stack.enter_context(worker)
            consume(exporter, bootstrap, consumption)
            left = LOAD_SECONDS - (time.monotonic() - started)
            watch._stopping.wait(left)  # the duration of the load is what is measured
        histogram = {source: latencies(exporter, source, "live-paced") for source in METHODS}
        yield World(exporter, bootstrap, watch, sources, consumption, histogram)


def write_clock(bootstrap: str) -> float:
    create_topic(bootstrap, "live-clock", 1, 3)
    head = int(time.time() * 1000) - HOUR
    produce(bootstrap, "live-clock", timestamp_ms=head)
    commit_offsets(bootstrap, "live-clock", {("live-clock", 0): 0})
    return head / 1000


AGES = (2 * DAY, DAY - HOUR, 2 * HOUR, 20 * MINUTE, 3 * MINUTE, 20 * SECOND, 7 * SECOND)
"""Ages in milliseconds of the records that wait for the paced consumer, one batch each."""
BATCH = 5


def write_latencies(bootstrap: str) -> None:
    create_topic(bootstrap, "live-paced", 1, 3)
    now = int(time.time() * 1000)
    produce(
        bootstrap,
        "live-paced",
        n=BATCH * (len(AGES) + 1),
        timestamp_ms=lambda i: now - AGES[max(i // BATCH - 1, 0)] + i,
    )


def latencies(exporter: Exporter, source: str, group: str) -> Scrape:
    """The histogram of a group's latencies."""
    page = scrape_some(exporter, source, "mq_latency_seconds")
    series = {key: value for key, value in page.series.items() if ("group", group) in key[1]}
    page.series = series
    return page


def consume(exporter: Exporter, bootstrap: str, noted: Consumption) -> None:
    """Consume slowly enough for the exporter to see each commit.

    Each source has seen the first commit before the second one is made.
    """
    reader = consumer(bootstrap, "live-paced", "live-paced")
    noted.last_seen = {source: [] for source in METHODS}
    for number in range(len(AGES) + 3):
        if number > len(AGES):
            produce(bootstrap, "live-paced", n=BATCH)
        stamp = 0.0
        for _ in range(BATCH):
            message = reader.poll(60)
            assert message is not None
            stamp = message.timestamp()[1] / 1000
        began = time.time()
        reader.commit(asynchronous=False)
        if number:
            noted.first_seen.append(began - stamp)
        for source in METHODS:

            def is_seen(source: str = source, number: int = number) -> bool:
                page = latencies(exporter, source, "live-paced")
                return page.value("mq_latency_seconds_count") == number

            wait_until(is_seen, f"{source} to see commit {number}", 60, poll_seconds=0.1)
            if number:
                noted.last_seen[source].append(time.time() - stamp)
    reader.close()


# Ages


@pytest.mark.parametrize("source", METHODS)
def test_ages_under_load_are_true(world: World, source: str) -> None:
    """Within the tolerance and the stated bound, and exact where records are read."""
    looks = world.watch.whole(source)
    seen: dict[tuple[str, str], list[float]] = {}
    wrong = []
    for look in looks:
        for sub, (position, lag) in look.positions.items():
            if sub[1] not in world.sources:
                continue
            stamps = world.sources[sub[1]].stamps
            said = look.ages.ages.get((*sub, 0))
            true = max(look.ages.at - stamps[position], 0.0) if lag else 0.0
            bound = look.ages.bounds.get(sub)
            limit = min(tolerance(true), tolerance(true) if bound is None else bound) + ROUNDING
            if said is None or abs(said - true) > limit:
                wrong.append((*sub, look.ages.at, position, lag, said, true, bound))
            else:
                seen.setdefault(sub, []).append(true)
    assert wrong == []
    assert len(looks) >= LOAD_SECONDS / 3
    assert max(seen["live-bursty", "live-bursts"]) > 1
    assert max(seen["live-late", "live-steady"]) > 2
    assert max(seen["live-steady-stands", "live-steady"]) > LOAD_SECONDS / 2


@pytest.mark.parametrize("source", METHODS)
def test_ages_are_as_of_the_look_at_the_positions(world: World, source: str) -> None:
    looks = world.watch.whole(source)
    assert [look for look in looks if look.ages.at > look.began + look.took] == []


@pytest.mark.parametrize("source", METHODS)
def test_every_subscription_says_how_far_it_may_be_off_under_load(
    world: World, source: str
) -> None:
    looks = world.watch.whole(source)
    bounds = [look.ages.bounds for look in looks[len(looks) // 2 :]]
    subs = {sub for sub in looks[-1].positions if sub[1] in world.sources}
    missing = [(number, sub) for number, bound in enumerate(bounds) for sub in subs - bound.keys()]
    assert missing == []


# Latencies


@pytest.mark.parametrize("source", METHODS)
def test_each_movement_is_one_observation(world: World, source: str) -> None:
    count = world.histogram[source].value("mq_latency_seconds_count")
    assert count == len(world.consumption.first_seen) == len(AGES) + 2


@pytest.mark.parametrize("source", METHODS)
def test_latencies_are_the_consumers_own_within_one_look(world: World, source: str) -> None:
    """Each is the commit's or longer, by no more than the time until it was observed."""
    noted, page = world.consumption, world.histogram[source]
    off = [0.01 if source == "auto" else tolerance(first) for first in noted.first_seen]
    first = [seen - less for seen, less in zip(noted.first_seen, off, strict=True)]
    last = [seen + more for seen, more in zip(noted.last_seen[source], off, strict=True)]
    total = page.value("mq_latency_seconds_sum")
    assert total is not None
    assert sum(first) <= total <= sum(last)
    for bound in BUCKETS:
        below = page.value("mq_latency_seconds_bucket", le=f"{bound:.1f}")
        assert below is not None
        assert sum(seen <= bound for seen in last) <= below <= sum(seen <= bound for seen in first)
    everything = page.value("mq_latency_seconds_bucket", le="+Inf")
    assert everything == page.value("mq_latency_seconds_count")


@pytest.mark.parametrize("source", METHODS)
def test_consumers_under_load_have_latencies_of_about_their_commit_interval(
    world: World, source: str
) -> None:
    """It commits every three seconds, so its last message waits for the poll only."""
    for group, most in (("live-fast", 3.0), ("live-slow", 3.0), ("live-idle", 3.0)):
        page = latencies(world.exporter, source, group)
        count = page.value("mq_latency_seconds_count")
        total = page.value("mq_latency_seconds_sum")
        assert count
        assert total is not None
        assert total / count < most
    late = latencies(world.exporter, source, "live-late")
    quick = late.value("mq_latency_seconds_bucket", le="1.0")
    assert quick != late.value("mq_latency_seconds_count")


@pytest.mark.parametrize("source", METHODS)
def test_a_transactions_marker_is_not_the_last_message_that_was_consumed(
    world: World, source: str
) -> None:
    """The position of a consumer that has read everything is before or after the marker."""
    topic = f"live-transactions-{source.replace('_', '-')}"
    create_topic(world.bootstrap, topic)
    stamp = int(time.time() * 1000) - 10 * MINUTE
    for _ in range(2):
        produce_transaction(world.bootstrap, topic, n=3, timestamp_ms=stamp)
    commit_offsets(world.bootstrap, topic, {(topic, 0): 0})

    def counted(number: int) -> Callable[[], bool]:
        def is_counted() -> bool:
            page = latencies(world.exporter, source, topic)
            return page.value("mq_latency_seconds_count") == number

        return is_counted

    wait_until(counted(0), "the group", 60)
    for number, position in enumerate((4, 8), 1):
        commit_offsets(world.bootstrap, topic, {(topic, 0): position})
        wait_until(counted(number), f"movement {number}", 60)
    page = latencies(world.exporter, source, topic)
    total = page.value("mq_latency_seconds_sum")
    assert total is not None
    assert 1200 <= total < 1300


# Commit intervals


@pytest.mark.parametrize("source", METHODS)
def test_the_commit_interval_is_about_that_at_which_the_group_commits(
    world: World, source: str
) -> None:
    gaps = world.watch.looks[source][-1].gaps
    assert SLOW_COMMITS - 1 <= gaps["live-slow", "live-steady"] <= SLOW_COMMITS + 3
    assert 0 < gaps["live-fast", "live-steady"] <= 3
    assert gaps["live-steady-stands", "live-steady"] == 0


@pytest.mark.parametrize("source", METHODS)
def test_waiting_for_messages_is_no_commit_interval(world: World, source: str) -> None:
    """The topic has been idle for long, and then there was something to consume again."""
    gaps = [look.gaps.get(("live-idle", "live-stops"), 0.0) for look in world.watch.looks[source]]
    assert 0 < gaps[-1] <= 3
    position, lag = world.watch.looks[source][-1].positions["live-idle", "live-stops"]
    assert (position, lag) == (len(world.sources["live-stops"].stamps), 0)
    before = world.value(source, "mq_commit_interval_seconds", group="live-idle")
    assert before == gaps[-1]


# Loss


@pytest.mark.parametrize("source", METHODS)
def test_a_group_that_drains_its_backlog_in_time_loses_nothing(world: World, source: str) -> None:
    """Next to a group that does not move, which loses the messages that retention reaches."""
    topic = f"live-drains-{source.replace('_', '-')}"
    create_topic(world.bootstrap, topic, 1, 1, WEEK)
    stamp = int(time.time() * 1000) - DAY
    produce(world.bootstrap, topic, n=2000, timestamp_ms=lambda i: stamp + i * SECOND)
    stands = f"{topic}-stands"
    position = 0
    commit_offsets(world.bootstrap, stands, {(topic, 0): 0})

    def drains() -> bool:
        nonlocal position
        position += 10
        assert position < 2000
        commit_offsets(world.bootstrap, topic, {(topic, 0): position})
        return world.value(source, "mq_time_to_loss_seconds", group=topic) == float("inf")

    wait_until(drains, "no loss", 60, poll_seconds=0.2)

    def left() -> tuple[float, float] | None:
        page = scrape_some(world.exporter, source, "mq_lag_seconds", "mq_time_to_loss_seconds")
        metrics = ("mq_lag_seconds", "mq_time_to_loss_seconds")
        age, loss = (page.value(metric, group=stands) for metric in metrics)
        return None if age is None or loss is None else (age, loss)

    age, loss = wait_until(left, "the loss", 60) or (0.0, 0.0)
    assert age + loss == pytest.approx(7 * DAY / 1000, abs=0.002)
    assert committed_offsets(world.bootstrap, stands) == {(topic, 0): 0}
