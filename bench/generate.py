"""Creates a scale's topics, messages and committed offsets on a broker, and deletes them."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench.scales import SPREAD_SECONDS, Scale

IN_FLIGHT = 20
"""Number of groups whose offsets are set at once. With more, some time out."""
SECONDS = 60.0
"""Timeout of one request."""
STEP_SECONDS = 600.0
"""Timeout of setting all offsets."""
PAUSE_SECONDS = 0.2
"""Pause before an offset is set again: the coordinator of a new cluster needs a moment."""
DELETED_AT_ONCE = 500
VALUE = b"x" * 20


class GenerateError(Exception):
    """The broker could not be brought into the known state. The message says why."""


def generate(bootstrap: str, scale: Scale) -> None:
    """Create everything. Messages that an earlier run has left are not produced again."""
    admin = _admin(bootstrap)
    _refuse_strangers(admin, scale)
    _create_topics(admin, scale)
    _produce(bootstrap, scale, _ends(admin, scale))
    if _ends(admin, scale) != {(topic, number): count for topic, number, count in scale.logs()}:
        raise GenerateError("the logs do not end where they should: give an empty broker")
    _commit(admin, scale)


def remove(bootstrap: str, scale: Scale) -> None:
    """Delete the scale's groups and topics."""
    admin = _admin(bootstrap)
    for groups in _batches(scale.group_names()):
        for done in admin.delete_consumer_groups(groups, request_timeout=SECONDS).values():
            done.result(SECONDS)
    for done in admin.delete_topics(scale.topic_names(), operation_timeout=SECONDS).values():
        done.result(SECONDS)


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def _refuse_strangers(admin: AdminClient, scale: Scale) -> None:
    """Raise if there is anything else on the broker: it would be measured, too."""
    topics = {name for name in admin.list_topics(timeout=SECONDS).topics if name[:2] != "__"}
    listing = admin.list_consumer_groups(request_timeout=SECONDS).result(SECONDS)
    groups = {group.group_id for group in listing.valid or ()}
    strangers = (topics - set(scale.topic_names())) | (groups - set(scale.group_names()))
    if strangers:
        raise GenerateError(
            f"the broker has {len(strangers)} topics and groups that are not of scale {scale.name},"
            f" such as {min(strangers)}: give an empty broker"
        )


def _create_topics(admin: AdminClient, scale: Scale) -> None:
    topics = [
        NewTopic(name, num_partitions=scale.partitions_per_topic, replication_factor=1)
        for name in scale.topic_names()
    ]
    for done in admin.create_topics(topics, operation_timeout=SECONDS).values():
        try:
            done.result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _ends(admin: AdminClient, scale: Scale) -> dict[tuple[str, int], int]:
    """Read the log ends. Just after a topic's creation, some partitions have no leader yet."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return _read_ends(admin, scale)
        except KafkaException:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_SECONDS)


def _read_ends(admin: AdminClient, scale: Scale) -> dict[tuple[str, int], int]:
    request = {
        TopicPartition(topic, partition): OffsetSpec.latest()
        for topic, partition, _ in scale.logs()
    }
    answers = admin.list_offsets(request, request_timeout=SECONDS)
    return {
        (place.topic, place.partition): done.result(SECONDS).offset
        for place, done in answers.items()
    }


def _produce(bootstrap: str, scale: Scale, ends: dict[tuple[str, int], int]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "log_level": 0})
    faults: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            faults.append(error)

    began = time.time() - SPREAD_SECONDS
    for topic, partition, count in scale.logs():
        for number in range(ends[topic, partition], count):
            produce = partial(
                producer.produce,
                topic,
                VALUE,
                partition=partition,
                on_delivery=delivered,
                timestamp=round(1000 * (began + SPREAD_SECONDS * number / count)),
            )
            try:
                produce()
            except BufferError:
                producer.flush(SECONDS)
                produce()
        producer.poll(0)
    unsent = producer.flush(SECONDS)
    if faults or unsent:
        raise GenerateError(f"{len(faults)} messages refused, {unsent} not sent: {faults[:1]}")


def _commit(admin: AdminClient, scale: Scale) -> None:
    """Set every group's offsets, a bounded number of groups at a time."""
    until = time.monotonic() + STEP_SECONDS
    answers: queue.SimpleQueue[tuple[int, Future[Any]]] = queue.SimpleQueue()

    def ask(group: int) -> None:
        places = [
            TopicPartition(place.topic, place.partition, standing.committed)
            for place, standing in scale.group_standings(group)
        ]
        name = scale.group_name(group)
        request = ConsumerGroupTopicPartitions(name, places)
        done = admin.alter_consumer_group_offsets([request], request_timeout=SECONDS)[name]
        done.add_done_callback(lambda future: answers.put((group, future)))

    waiting = iter(range(scale.groups))
    for group in _first(waiting, IN_FLIGHT):
        ask(group)
    left = scale.groups
    while left:
        group, future = answers.get(timeout=SECONDS + 5)
        fault = _fault(future)
        if fault is None:
            left -= 1
            for following in _first(waiting, 1):
                ask(following)
        elif time.monotonic() > until:
            raise GenerateError(f"offsets of group {group}: {fault}")
        else:
            time.sleep(PAUSE_SECONDS)
            ask(group)


def _fault(future: Future[Any]) -> object | None:
    """Say what went wrong: with the request, or with one of its partitions."""
    error = future.exception()
    if error is not None:
        return error
    return next((p.error for p in future.result().topic_partitions if p.error is not None), None)


def _first(items: Iterator[int], count: int) -> list[int]:
    return [item for _, item in zip(range(count), items, strict=False)]


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(names), DELETED_AT_ONCE):
        yield list(names[first : first + DELETED_AT_ONCE])
