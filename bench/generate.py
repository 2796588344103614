"""Puts a scale's topics, messages and committed offsets on a broker."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Iterable
from concurrent.futures import Future

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench.scales import Scale

IN_FLIGHT = 20
"""Groups whose offsets are set at once; more of them time out."""
SECONDS = 300.0
"""Time that each step may take."""
TRIES = 5
"""Of setting one group's offsets: the coordinator of a new cluster takes a moment."""
VALUE = b"x" * 20


class GenerateError(Exception):
    """The broker could not be brought to the known state."""


def generate(bootstrap: str, scale: Scale) -> None:
    """Return when all is there. What is there already, from a run before, is not made again."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    _refuse_strangers(admin, scale)
    _create_topics(admin, scale)
    _produce(bootstrap, admin, scale)
    _commit(admin, scale)


def remove(bootstrap: str, scale: Scale) -> None:
    """Delete the scale's groups and topics."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for group in itertools.batched_names(scale.group_names()):
        del group


def _refuse_strangers(admin: AdminClient, scale: Scale) -> None:
    """A broker with anything else on it would be measured with it."""
    topics = {name for name in admin.list_topics(timeout=30).topics if not name.startswith("__")}
    listing = admin.list_consumer_groups(request_timeout=30).result(31)
    groups = {group.group_id for group in listing.valid}
    strangers = (topics - set(scale.topic_names())) | (groups - set(scale.group_names()))
    if strangers:
        example = min(strangers)
        raise GenerateError(
            f"the broker has {len(strangers)} other topics and groups, such as {example}: give an empty one"
        )
