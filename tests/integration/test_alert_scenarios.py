"""Scenarios on real brokers, all at once: the receiver gets the right alerts with the right cause.

Each scenario has its own group, queue or channel. Others must not fire any alert: deploys, batches,
rare commits, and destinations that need no consumers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from testbed import nsq_data, rabbit_data
from testbed.alerting import Alerting, Notification
from testbed.background import Background, Repeated
from testbed.consuming import Delivery, Outcome
from testbed.exporter import Exporter, kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import (
    commit_offsets,
    create_topic,
    delete_group,
    delete_records,
    end_offsets,
    produce,
    produce_in,
    transaction,
)
from testbed.kafka_load import Feed, Reader
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until
from tests.integration.test_alerting import alerting_exporter

SYMPTOMS = {"MqLagHigh", "MqResidenceTimeHigh", "MqConsumeRateLow", "MqWillNotDrain"}
DEAD_LETTERS = {
    "match": {"destination": ".*dlq"},
    "consumers_expected": False,
    "lag_seconds": "off",
    "lag_messages": 1_000,
}
SCALE = 10
"""Slower than in other tests, so that healthy scenarios have enough time on a slow machine too."""
PARTITIONS = 4


@dataclass
class Expected:
    """The alerts that the receiver must get about one subscription."""

    alerts: set[str]
    """At least one of these."""
    cause: str
    """As the notification names it."""
    labels: Mapping[str, str]
    others: set[str] = field(default_factory=set)
    """Alerts that may come too."""


STORE = ["hot", "surge", "open", "rewound", "lost", "retention"]
"""Topics that a second source reads: with ten alerts in one, only MqManyLagging is sent."""


@dataclass
class World:
    """The brokers, the load on them, and what is expected."""

    kafka: KafkaCluster
    rabbit: RabbitCluster
    nsq: NsqCluster
    stack: ExitStack
    expected: dict[str, Expected] = field(default_factory=dict)
    turns: list[Callable[[], object]] = field(default_factory=list)
    """The actions that cause the faults, after all subscriptions were seen healthy."""
    silent: set[str] = field(default_factory=set)

    @property
    def servers(self) -> str:
        return self.kafka.bootstrap

    def topic(self, name: str, partitions: int = PARTITIONS, **config: str) -> None:
        create_topic(self.servers, name, partitions, 1, config)

    def feed(self, topic: str, rate: float, **more: Any) -> Feed:
        return self.stack.enter_context(Feed(self.servers, topic, rate, **more))

    def reader(self, group: str, rate: float | None = None, topic: str = "", **more: Any) -> Reader:
        return self.stack.enter_context(Reader(self.servers, group, topic or group, rate, **more))

    def told(self, group: str, alerts: set[str], cause: str, *others: str) -> None:
        labels = {"source": "store" if group in STORE else "shop", "group": group}
        self.expected[group] = Expected(alerts, cause, labels, set(others))


def stop_all(readers: Iterable[Reader]) -> None:
    for reader in readers:
        reader.stop()


# Scenarios of Kafka


def slow(world: World) -> None:
    world.topic("slow")
    world.feed("slow", 150.0)
    reader = world.reader("slow")
    world.turns.append(lambda: setattr(reader, "rate", 30.0))
    world.told("slow", {"MqLagHigh"}, "slow consumers")


def killed(world: World) -> None:
    world.topic("killed")
    world.feed("killed", 50.0)
    readers = [world.reader("killed") for _ in range(2)]
    world.turns.append(lambda: stop_all(readers))
    world.told("killed", {"MqNoConsumers"}, "no consumers")


def some_left(world: World) -> None:
    world.topic("some-left")
    world.feed("some-left", 150.0)
    readers = [world.reader("some-left", 70.0) for _ in range(4)]
    world.turns.append(lambda: stop_all(readers[1:]))
    world.told("some-left", {"MqLagHigh"}, "too few consumers")


def too_few(world: World) -> None:
    world.topic("too-few")
    world.feed("too-few", 120.0)
    world.reader("too-few", 60.0)
    world.told("too-few", {"MqLagHigh"}, "too few consumers")


def large(world: World) -> None:
    world.topic("large", 2)
    feed = world.feed("large", 60.0, size=100)
    world.reader("large", bytes_rate=150_000.0)
    world.turns.append(lambda: setattr(feed, "size", 10_000))
    world.told("large", {"MqResidenceTimeHigh", "MqLagHigh"}, "large messages")


class Restless(Background):
    """A member that joins and leaves, again and again."""

    def __init__(self, reader: Reader, seconds: float) -> None:
        super().__init__()
        self._reader = reader
        self._seconds = seconds

    def _run(self) -> None:
        until = time.monotonic() + self._seconds
        while not self._stopping.is_set() and time.monotonic() < until:
            self._reader.start()
            self._stopping.wait(1.5)
            self._reader.stop()
            self._stopping.wait(1.0)


def rebalancing(world: World) -> None:
    world.topic("rebalancing")
    world.feed("rebalancing", 150.0)
    world.reader("rebalancing", 60.0)
    world.stack.enter_context(
        Restless(Reader(world.servers, "rebalancing", "rebalancing", 1.0), 600.0)
    )
    world.told("rebalancing", {"MqRebalanceStorm"}, "rebalancing", "MqOffsetsRewound")


def hot(world: World) -> None:
    world.topic("hot")
    world.feed("hot", 120.0, place=lambda n: 0 if n % 10 < 7 else n % PARTITIONS)
    for _ in range(PARTITIONS):
        world.reader("hot", 45.0)
    world.told("hot", {"MqLagHigh"}, "uneven partitions")


def surge(world: World) -> None:
    world.topic("surge")
    feed = world.feed("surge", 30.0)
    world.reader("surge", 60.0)
    world.turns.append(lambda: setattr(feed, "rate", 200.0))
    world.told("surge", {"MqLagHigh"}, "traffic surge")


def open_transaction(world: World) -> None:
    world.topic("open", 1)
    world.feed("open", 30.0)
    world.reader("open")

    def begin() -> None:
        # The broker ends it after a minute, so there may be nothing left to abort.
        world.stack.enter_context(suppress(KafkaException))
        producer = world.stack.enter_context(transaction(world.servers, commit=False))
        produce_in(producer, "open", 0, 1)

    world.turns.append(begin)
    world.told("open", {"MqStalled"}, "open transaction")


def rewound(world: World) -> None:
    world.topic("rewound", 1)
    produce(world.servers, "rewound", 0, 200)
    commit_offsets(world.servers, "rewound", {("rewound", 0): 200})

    def back() -> None:
        commit_offsets(world.servers, "rewound", {("rewound", 0): 50})

    world.turns.append(back)
    world.told(
        "rewound", {"MqOffsetsRewound"}, "no consumers", "MqNoConsumers", "MqResidenceTimeHigh"
    )


def lost(world: World) -> None:
    world.topic("lost", 1)
    produce(world.servers, "lost", 0, 250)
    commit_offsets(world.servers, "lost", {("lost", 0): 50})

    def move_and_delete() -> None:
        commit_offsets(world.servers, "lost", {("lost", 0): 100})
        delete_records(world.servers, {("lost", 0): 180})

    world.turns.append(move_and_delete)
    world.told("lost", {"MqMessagesLost"}, "no consumers", "MqNoConsumers", "MqResidenceTimeHigh")


def retention(world: World) -> None:
    world.topic("retention", 1, **{"retention.ms": "150000"})
    world.feed("retention", 5.0)
    reader = world.reader("retention")
    world.turns.append(reader.stop)
    world.told(
        "retention", {"MqRetentionNear"}, "no consumers", "MqNoConsumers", "MqWillLoseMessages"
    )


# Scenarios of RabbitMQ and NSQ


def poison(world: World) -> None:
    url = world.rabbit.amqp_url()
    rabbit_data.declare(url, "poison")
    rabbit_data.publish(url, "poison", 3)

    def back(_: Delivery) -> Outcome:
        return "requeue"

    world.stack.enter_context(rabbit_data.RabbitConsumer(url, "poison", 40.0, outcome=back))
    world.expected["poison"] = Expected(
        {"MqRedeliveryLoop"},
        "retry loop",
        {"source": "jobs", "vhost": "/", "destination": "poison"},
        {"MqStalled"},
    )


def unread(world: World) -> None:
    url = world.rabbit.amqp_url()
    rabbit_data.declare(url, "unread")
    world.turns.append(lambda: rabbit_data.publish(url, "unread", 20))
    world.expected["unread"] = Expected(
        {"MqNoConsumers"},
        "no consumers",
        {"source": "jobs", "vhost": "/", "destination": "unread"},
    )


def paused(world: World) -> None:
    url, address = world.nsq.http_url(), world.nsq.tcp_address()
    nsq_data.create_channel(url, "paused", "work")
    world.stack.enter_context(nsq_data.NsqConsumer(address, "paused", "work"))

    def publish() -> None:
        with suppress(OSError):
            nsq_data.publish(url, "paused")

    world.stack.enter_context(Repeated(0.1, publish))
    world.turns.append(lambda: nsq_data.pause(url, "paused", "work"))
    world.expected["paused"] = Expected(
        {"MqStalled"},
        "paused",
        {"source": "events", "destination": "paused", "group": "work"},
        {"MqResidenceTimeHigh"},
    )


# Scenarios that must not fire an alert


def deploy(world: World) -> None:
    world.topic("deploy")
    world.feed("deploy", 100.0)
    reader = world.reader("deploy")

    def replace() -> None:
        reader.stop()
        time.sleep(10)
        reader.start()

    world.turns.append(lambda: threading.Thread(target=replace, daemon=True).start())
    world.silent.add("deploy")


def connect(world: World) -> None:
    world.topic("connect")
    world.feed("connect", 150.0)
    world.reader("connect", commits=6.0)
    world.silent.add("connect")


def batch(world: World) -> None:
    world.topic("batch")
    feed = world.feed("batch", 0.0)
    feed.send(10)
    world.reader("batch", 400.0)
    world.turns.append(lambda: feed.send(4_000))
    world.silent.add("batch")


def deleted(world: World) -> None:
    world.topic("deleted")
    world.feed("deleted", 20.0)
    reader = world.reader("deleted")

    def delete() -> None:
        reader.stop()
        delete_group(world.servers, "deleted")

    world.turns.append(delete)
    world.silent.add("deleted")


def one_of_two(world: World) -> None:
    world.topic("one-of-two", 2)
    world.feed("one-of-two", 60.0, place=lambda n: n % 2)
    stop = threading.Event()

    def read() -> None:
        consumer = Consumer({"bootstrap.servers": world.servers, "group.id": "one-of-two"})
        consumer.assign([TopicPartition("one-of-two", 0, 0)])
        while not stop.is_set():
            for message in consumer.consume(100, 0.2):
                if message.error() is None:
                    consumer.commit(message=message, asynchronous=True)
        consumer.close()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    world.stack.callback(thread.join, 10)
    world.stack.callback(stop.set)
    world.silent.add("one-of-two")


def dead_letters(world: World) -> None:
    world.topic("orders.dlq", 1)
    produce(world.servers, "orders.dlq", 0, 40)
    commit_offsets(world.servers, "dlq-reader", {("orders.dlq", 0): 5})
    url = world.rabbit.amqp_url()
    rabbit_data.declare(url, "jobs.dlq")
    rabbit_data.publish(url, "jobs.dlq", 40)
    world.silent |= {"dlq-reader", "jobs.dlq"}


def dormant(world: World) -> None:
    """Dead before the exporter started, and losing messages: known, and no news."""
    world.topic("dormant", 1)
    produce(world.servers, "dormant", 0, 5_000)
    commit_offsets(world.servers, "dormant-group", {("dormant", 0): 100})
    url = world.rabbit.amqp_url()
    rabbit_data.declare(url, "dormant-queue")
    rabbit_data.publish(url, "dormant-queue", 2_000)
    world.turns.append(lambda: delete_records(world.servers, {("dormant", 0): 180}))
    world.silent |= {"dormant-group", "dormant-queue"}


def abandoned(world: World) -> None:
    world.topic("old-topic", 1)
    world.topic("new-topic", 1)
    world.feed("old-topic", 100.0)
    world.feed("new-topic", 100.0)
    old = world.reader("mover", topic="old-topic")

    def move() -> None:
        world.reader("mover", topic="new-topic")
        old.stop()

    world.turns.append(move)
    world.silent.add("mover")


def come_and_go(world: World) -> None:
    world.topic("come-and-go")
    world.feed("come-and-go", 60.0)
    world.reader("come-and-go")
    other = Reader(world.servers, "come-and-go", "come-and-go")
    world.turns.append(lambda: world.stack.enter_context(Restless(other, 8.0)))
    world.silent.add("come-and-go")


SCENARIOS = [
    *(slow, killed, some_left, too_few, large, rebalancing, hot, surge, open_transaction),
    *(rewound, lost, retention, poison, unread, paused),
    *(deploy, connect, batch, deleted, one_of_two, dead_letters, dormant, abandoned),
    come_and_go,
]


@pytest.fixture
def world() -> Iterator[World]:
    settings = {"log.retention.check.interval.ms": "300000"}
    with (
        KafkaCluster(1, settings) as kafka,
        RabbitCluster(quick_statistics=True) as rabbit,
        NsqCluster(1, 1) as nsq,
        ExitStack() as stack,
    ):
        yield World(kafka, rabbit, nsq, stack)


def subject(notification: Notification) -> set[str]:
    """Return the names of the subscription that a notification is about."""
    names = ("group", "destination")
    return {each["labels"][n] for each in notification.alerts for n in names if n in each["labels"]}


def is_told(alerting: Alerting, expected: Expected) -> bool:
    found = alerting.receiver.of(**expected.labels)
    return any(expected.alerts & each.names() for each in found)


def sources(world: World) -> list[dict[str, Any]]:
    return [
        kafka_source(
            world.servers, "shop", destinations={"exclude": STORE}, groups={"exclude": STORE}
        ),
        kafka_source(
            world.servers, "store", destinations={"include": STORE}, groups={"include": STORE}
        ),
        rabbit_source(world.rabbit, "jobs"),
        nsq_source(world.nsq, "events"),
    ]


def wait_healthy(exporter: Exporter) -> None:
    """Wait until every source was polled for long enough to know the usual rates."""
    for source in ("shop", "store", "jobs", "events"):
        exporter.cycles(20, source)


def test_every_scenario_comes_out_at_the_receiver(world: World, tmp_path: Path) -> None:
    for scenario in SCENARIOS:
        scenario(world)
    assert end_offsets(world.servers, [("rewound", 0)])
    with (
        alerting_exporter(tmp_path, sources(world), DEAD_LETTERS, scale=SCALE) as exporter,
        Alerting(tmp_path, f"127.0.0.1:{exporter.port}", scale=SCALE) as alerting,
    ):
        wait_healthy(exporter)
        for turn in world.turns:
            turn()
        for name, expected in world.expected.items():
            wait_until(
                lambda expected=expected: is_told(alerting, expected),  # type: ignore[misc]
                f"{name}: one of {expected.alerts}",
                180,
                poll_seconds=0.5,
            )
        exporter.cycles(30, "shop")
        rows = exporter.get("/api/v1/subscriptions").json()["subscriptions"]
        told = list(alerting.receiver.notifications)
        report(told, rows, world)
        wrong = [
            name
            for name, expected in world.expected.items()
            if cause(told, expected) != expected.cause
        ]
        assert wrong == []
        for name, expected in world.expected.items():
            names = {
                n
                for each in told
                if expected.labels.items() <= each.labels.items()
                for n in each.names()
            }
            assert names <= expected.alerts | expected.others | SYMPTOMS, name
        assert not {name for each in told for name in subject(each)} & world.silent
        known = [set(expected.labels.items()) for expected in world.expected.values()]
        strange = [each for each in told if not any(k <= set(each.labels.items()) for k in known)]
        assert strange == []


def cause(told: list[Notification], expected: Expected) -> str | None:
    """Return the cause in the last notification that names one."""
    found = None
    for each in told:
        if expected.labels.items() <= each.labels.items():
            for alert in each.alerts:
                _, mark, after = alert["annotations"]["description"].partition("Likely cause: ")
                found = after.partition(".")[0] if mark else found
    return found


def report(told: list[Notification], rows: list[dict[str, Any]], world: World) -> None:
    """Print the notifications and the evidence, for the documents and to examine a failure."""
    for name, expected in world.expected.items():
        names = sorted(
            {
                n
                for each in told
                if expected.labels.items() <= each.labels.items()
                for n in each.names()
            }
        )
        print(f"{name}: {names}: {cause(told, expected)} (expected {expected.cause})")  # noqa: T201
        for row in rows:
            wanted = {k: v for k, v in expected.labels.items() if k in ("group", "destination")}
            if wanted.items() <= row.items():
                print(f"    {row['status']}, {[list(each.values()) for each in row['causes']]}")  # noqa: T201
    for each in told:
        if subject(each) & world.silent:
            print(f"NOT SILENT {dict(each.labels)} {sorted(each.names())} {each.text}")  # noqa: T201
