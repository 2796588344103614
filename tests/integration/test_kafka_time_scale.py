"""Ages of 50,000 positions in five shapes of traffic, after a few polls and within bounds."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from testbed.exporter import Exporter, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import admin_client, commit_offsets
from testbed.waiting import wait_until
from tests.support.ages import ROUNDING, Ages, Clock, Key, tolerance

TOPICS, PARTITIONS, RECORDS = 100, 10, 300
GROUPS, TOPICS_OF_GROUP = 200, 25
POSITIONS = GROUPS * TOPICS_OF_GROUP * PARTITIONS
LOOKS = 3
"""Polls of the times after which all ages are known, if the machine is not busy."""
SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000

CLOCK = re.compile(r'^mq_lag_seconds{[^}]*group="clock"[^}]*} .*$', re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')

Shape = Callable[[random.Random], Sequence[int]]


def spread(since: int, over: int) -> Sequence[int]:
    """Return timestamps (ms, relative to now) at equal distances."""
    return [since + over * i // RECORDS for i in range(RECORDS)]


SHAPES: Mapping[str, Shape] = {
    "steady hour": lambda _: spread(-HOUR, HOUR),
    "ten bursts": lambda _: [
        -2 * HOUR + i * 10 // RECORDS * 720 * SECOND + i % (RECORDS // 10) * 3
        for i in range(RECORDS)
    ],
    "stopped two days ago": lambda _: spread(-2 * DAY - HOUR, HOUR),
    "a day replayed": lambda _: spread(-6 * DAY, DAY),
    "random gaps": lambda rnd: sorted(-rnd.randrange(6 * HOUR) for _ in range(RECORDS)),
}


DISORDERED = {f"t{n}" for n in range(19, TOPICS, 20)}
"""Topics where old records were replayed between newer ones; lookups can't tell their ages."""


def replayed() -> Sequence[int]:
    """A hundred of the last hour, 130 of six days ago between them, and a burst of now."""
    before, between = spread(-HOUR, HOUR)[::3], spread(-6 * DAY, DAY)[::2][:130]
    return [*before[:50], *between, *before[50:], *(0 for _ in range(RECORDS - 230))]


@dataclass(frozen=True)
class World:
    heads: Mapping[Key, float]
    looks: Sequence[Ages]
    """The ages after each of the first successful polls of the times.

    On a busy machine a poll may end at its deadline with fewer ages, so the last one is complete.
    """


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    rnd = random.Random(5)
    with KafkaCluster() as kafka:
        now = int(time.time() * 1000)
        shapes = list(SHAPES.values())
        stamps = [
            [now + t for t in (replayed() if f"t{n}" in DISORDERED else shapes[n % 5](rnd))]
            for n in range(TOPICS)
        ]
        write(kafka.bootstrap, stamps)
        heads = commit(kafka.bootstrap, stamps, rnd)
        clock = Clock("clock", "t0", stamps[0][0] / 1000)
        commit_offsets(kafka.bootstrap, "clock", {("t0", 0): 0})
        source = kafka_source(kafka.bootstrap, probe={"enabled": False})
        schedule = {"backlog": "5s", "latency": "5s", "consumers": "60s", "discovery": "60s"}
        folder = tmp_path_factory.mktemp("scale")
        with Exporter(folder, [source], defaults={"schedule": schedule}) as exporter:
            yield World(heads, first_looks(exporter, clock, heads))


def first_looks(exporter: Exporter, clock: Clock, heads: Mapping[Key, float]) -> list[Ages]:
    """Return one scrape after each poll, until all is known, and as exactly as it has to be.

    Parsing takes longer than the next poll, so they are parsed at the end.
    """
    pages: dict[str, str] = {}

    def has_looked() -> bool:
        answer = exporter.get("/metrics", **{"Accept-Encoding": "identity"})
        page = answer.content.decode()
        shown = CLOCK.search(page)
        if shown is not None:
            pages.setdefault(shown.group(), page)
        while len(pages) > LOOKS:
            del pages[list(pages)[-2]]
        if len(pages) < LOOKS or page.count("\nmq_lag_seconds{") <= POSITIONS:
            return False
        last = parse(list(pages.values())[-1], clock)
        return last.ages.keys() == heads.keys() and inexact(last, heads) == {}

    wait_until(has_looked, "all ages", 300, poll_seconds=0.5)
    return [parse(page, clock) for page in pages.values()]


def parse(page: str, clock: Clock) -> Ages:
    """Only for names without characters to escape."""
    ages: dict[Key, float] = {}
    bounds: dict[tuple[str, str], float] = {}
    for line in page.split("\n"):
        if line.startswith("mq_lag_seconds"):
            labels = dict(LABEL.findall(line))
            sub = (labels["group"], labels["destination"])
            value = float(line.rpartition(" ")[2])
            if line.startswith("mq_lag_seconds{"):
                ages[*sub, int(labels["partition"])] = value
            elif line.startswith("mq_lag_seconds_uncertainty"):
                bounds[sub] = value
    at = clock.head + ages.pop((clock.group, clock.topic, 0))
    bounds.pop((clock.group, clock.topic), None)
    return Ages(at, ages, bounds)


def write(bootstrap: str, stamps: Sequence[Sequence[int]]) -> None:
    client = admin_client(bootstrap)
    topics = [
        NewTopic(f"t{n}", num_partitions=PARTITIONS, replication_factor=1) for n in range(TOPICS)
    ]
    for made in client.create_topics(topics).values():
        made.result(60)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "enable.idempotence": True,  # a retry must not change the order
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )
    for topic, times in enumerate(stamps):
        for partition in range(PARTITIONS):
            for stamp in times:
                producer.produce(f"t{topic}", b"v", partition=partition, timestamp=stamp)
        producer.poll(0)
    assert producer.flush(120) == 0


def commit(bootstrap: str, stamps: Sequence[Sequence[int]], rnd: random.Random) -> dict[Key, float]:
    heads = {}
    for number in range(GROUPS):
        group = f"g{number}"
        offsets = {
            (f"t{topic}", partition): rnd.randrange(RECORDS)
            for topic in ((number * 7 + i) % TOPICS for i in range(TOPICS_OF_GROUP))
            for partition in range(PARTITIONS)
        }
        commit_offsets(bootstrap, group, offsets)
        for (topic, partition), offset in offsets.items():
            heads[group, topic, partition] = stamps[int(topic[1:])][offset] / 1000
    return heads


@pytest.mark.parametrize("number", range(LOOKS))
def test_no_look_says_to_be_more_exact_than_it_is(world: World, number: int) -> None:
    assert world.looks[number].lies(world.heads) == {}


def test_the_first_look_knows_most_ages(world: World) -> None:
    assert len(world.looks[0].ages) > len(world.heads) / 2


def test_every_position_has_its_age_after_a_few_looks(world: World) -> None:
    assert len(world.heads) == GROUPS * TOPICS_OF_GROUP * PARTITIONS
    last = world.looks[-1]
    assert last.ages.keys() == world.heads.keys()
    ordered = {key: head for key, head in world.heads.items() if key[1] not in DISORDERED}
    assert last.wrong(ordered) == {}


def test_every_subscription_says_how_exact_it_is_and_that_is_enough(world: World) -> None:
    assert inexact(world.looks[-1], world.heads) == {}


def inexact(
    look: Ages, heads: Mapping[Key, float]
) -> dict[tuple[str, str], tuple[float | None, float]]:
    """Return subscriptions whose bound is unknown or too wide, with it and the largest true age."""
    largest: dict[tuple[str, str], float] = {}
    for (group, topic, _), true in look.of(heads).items():
        if topic not in DISORDERED:
            largest[group, topic] = max(true, largest.get((group, topic), 0.0))
    found: dict[tuple[str, str], tuple[float | None, float]] = {}
    for sub, age in largest.items():
        bound = look.bounds.get(sub)
        if bound is None or bound > tolerance(age) + ROUNDING:
            found[sub] = (bound, age)
    return found
