"""Topics, records, transactions and committed offsets on a Kafka cluster, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import TypeVar, cast
from uuid import uuid4

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from testbed.waiting import wait_until

Headers = Sequence[tuple[str, bytes | str | None]]

T = TypeVar("T", bytes | None, int | None, Headers | None)

_TIMEOUT_SECONDS = 60.0
_ATTEMPT_SECONDS = 20.0
_COMMIT_SECONDS = 120.0
_PASSING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # to a coordinator that has not heard of a new topic
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
)


def admin_client(bootstrap: str) -> AdminClient:
    """Keep the client in a variable: pending results are cancelled when it is garbage-collected."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def create_topic(
    bootstrap: str,
    name: str,
    partitions: int = 1,
    replication: int = 1,
    config: Mapping[str, str] | None = None,
) -> None:
    """Return when every partition has a leader."""
    client = admin_client(bootstrap)
    topic = NewTopic(
        name, num_partitions=partitions, replication_factor=replication, config=dict(config or {})
    )
    client.create_topics([topic])[name].result(_TIMEOUT_SECONDS)

    def is_led() -> bool:
        found = client.list_topics(name, timeout=5).topics[name].partitions.values()
        return len(found) == partitions and all(partition.leader >= 0 for partition in found)

    wait_until(is_led, f"topic {name} to have leaders")


def alter_topic(bootstrap: str, name: str, config: Mapping[str, str]) -> None:
    """Change settings of a topic; return when a broker shows them."""
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        for key, value in config.items()
    ]
    client = admin_client(bootstrap)
    change = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
    for done in client.incremental_alter_configs([change]).values():
        done.result(_TIMEOUT_SECONDS)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)

    def is_shown() -> bool:
        shown = client.describe_configs([resource])[resource].result(_TIMEOUT_SECONDS)
        return all(shown[key].value == value for key, value in config.items())

    wait_until(is_shown, f"the settings of topic {name}")


def add_partitions(bootstrap: str, topic: str, count: int) -> None:
    """Return when every broker of `bootstrap` reports all `count` partitions with leaders."""
    client = admin_client(bootstrap)
    client.create_partitions([NewPartitions(topic, count)])[topic].result(_TIMEOUT_SECONDS)
    for address in bootstrap.split(","):
        one = admin_client(address)

        def are_led(one: AdminClient = one) -> bool:
            found = one.list_topics(topic, timeout=5).topics[topic].partitions.values()
            return len(found) == count and all(partition.leader >= 0 for partition in found)

        wait_until(are_led, f"{address} to know {count} partitions of {topic}")


def delete_topic(bootstrap: str, name: str) -> None:
    """Return when the brokers do not list it any more."""
    client = admin_client(bootstrap)
    try:
        client.delete_topics([name])[name].result(_TIMEOUT_SECONDS)
    except KafkaException as error:
        # If a response is late, the client repeats the request, and then the topic is gone.
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
    wait_until(lambda: name not in client.list_topics(timeout=5).topics, f"topic {name} to be gone")


def delete_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Delete many topics at once; return when the brokers list none of them."""
    client = admin_client(bootstrap)
    for done in client.delete_topics(list(names)).values():
        done.result(_TIMEOUT_SECONDS)
    gone = set(names)
    wait_until(lambda: not gone & client.list_topics(timeout=5).topics.keys(), "topics to be gone")


def produce(
    bootstrap: str,
    topic: str,
    partition: int = 0,
    n: int = 1,
    *,
    value: bytes | Callable[[int], bytes] = b"v",
    key: bytes | Callable[[int], bytes] | None = None,
    timestamp_ms: int | Callable[[int], int] | None = None,
    headers: Headers | Callable[[int], Headers] | None = None,
) -> list[int]:
    """Produce n records, acknowledged by all replicas in sync; return their offsets.

    Value, key, timestamp and headers can be functions of the record's number, from 0.
    """
    producer = Producer(
        {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "log_level": 0}
    )
    return _produce(producer, topic, partition, n, value, key, timestamp_ms, headers)


@contextmanager
def transaction(
    bootstrap: str, *, commit: bool = True, transactional_id: str | None = None
) -> Iterator[Producer]:
    """A producer in a transaction that stays open for the duration of the block."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id or f"tests-{uuid4()}",
            "linger.ms": 5,
            "log_level": 0,
        }
    )
    producer.init_transactions(_TIMEOUT_SECONDS)
    producer.begin_transaction()
    try:
        yield producer
    except BaseException:
        producer.abort_transaction(_TIMEOUT_SECONDS)
        raise
    if commit:
        producer.commit_transaction(_TIMEOUT_SECONDS)
    else:
        producer.abort_transaction(_TIMEOUT_SECONDS)


def produce_transaction(
    bootstrap: str,
    topic: str,
    partition: int = 0,
    n: int = 1,
    *,
    commit: bool = True,
    value: bytes | Callable[[int], bytes] = b"v",
    timestamp_ms: int | Callable[[int], int] | None = None,
) -> list[int]:
    """Produce n records in a transaction, commit or abort it, and return their offsets."""
    with transaction(bootstrap, commit=commit) as producer:
        return produce_in(producer, topic, partition, n, value=value, timestamp_ms=timestamp_ms)


def produce_in(
    producer: Producer,
    topic: str,
    partition: int = 0,
    n: int = 1,
    *,
    value: bytes | Callable[[int], bytes] = b"v",
    timestamp_ms: int | Callable[[int], int] | None = None,
) -> list[int]:
    """Produce n records with this producer (such as that of `transaction`).

    Return their offsets.
    """
    return _produce(producer, topic, partition, n, value, None, timestamp_ms, None)


def _produce(
    producer: Producer,
    topic: str,
    partition: int,
    n: int,
    value: bytes | Callable[[int], bytes],
    key: bytes | Callable[[int], bytes] | None,
    timestamp_ms: int | Callable[[int], int] | None,
    headers: Headers | Callable[[int], Headers] | None,
) -> list[int]:
    offsets: list[int] = []
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(error)
        else:
            offset = message.offset()
            assert offset is not None
            offsets.append(offset)

    for i in range(n):
        while True:
            try:
                producer.produce(
                    topic,
                    partition=partition,
                    value=_nth(value, i),
                    key=_nth(key, i),
                    timestamp=_nth(timestamp_ms, i) or 0,  # 0 is now
                    headers=list(_nth(headers, i) or ()),
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.1)
    unsent = producer.flush(_TIMEOUT_SECONDS)
    if failures or unsent:
        raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))
    return sorted(offsets)


def _nth(given: T | Callable[[int], T], i: int) -> T:
    return given(i) if callable(given) else given


def commit_offsets(bootstrap: str, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
    """Set committed offsets of a group without members; create the group if it is new."""
    positions = [
        TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()
    ]
    request = ConsumerGroupTopicPartitions(group, positions)
    client = admin_client(bootstrap)
    deadline = time.monotonic() + _COMMIT_SECONDS
    while (error := _commit(client, request)) is not None:
        if error.code() not in _PASSING or time.monotonic() > deadline:
            raise KafkaException(error)
        if error.code() == KafkaError._TIMED_OUT:
            # A request that gets lost on its way to a new coordinator is never answered, and blocks
            # its client.
            client = admin_client(bootstrap)
        time.sleep(0.1)  # the coordinator of a new cluster, or after a failover, takes a moment


def _commit(client: AdminClient, request: ConsumerGroupTopicPartitions) -> KafkaError | None:
    """Try once.

    The request's timeout is longer than the wait, because a timeout inside librdkafka can abort the
    process (#4605).
    """
    asked = client.alter_consumer_group_offsets([request], request_timeout=2 * _COMMIT_SECONDS)
    try:
        result = asked[request.group_id].result(_ATTEMPT_SECONDS)
    except FutureTimeoutError:
        return KafkaError(KafkaError._TIMED_OUT)
    except KafkaException as failure:
        return cast("KafkaError", failure.args[0])
    errors = (position.error for position in result.topic_partitions)
    return next(filter(None, errors), None)


def committed_offsets(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """The group's committed offsets; partitions without one are left out."""
    request = ConsumerGroupTopicPartitions(group)
    client = admin_client(bootstrap)
    result = client.list_consumer_group_offsets([request])[group].result(_TIMEOUT_SECONDS)
    return {
        (position.topic, position.partition): position.offset
        for position in result.topic_partitions
        if position.offset >= 0
    }


def delete_group(bootstrap: str, group: str) -> None:
    client = admin_client(bootstrap)
    client.delete_consumer_groups([group])[group].result(_TIMEOUT_SECONDS)


def delete_records(bootstrap: str, before: Mapping[tuple[str, int], int]) -> None:
    """Delete the records before these offsets, which become the log starts."""
    positions = [
        TopicPartition(topic, partition, offset) for (topic, partition), offset in before.items()
    ]
    client = admin_client(bootstrap)
    for done in client.delete_records(positions).values():
        done.result(_TIMEOUT_SECONDS)


def end_offsets(
    bootstrap: str, partitions: Iterable[tuple[str, int]], *, committed_only: bool = False
) -> dict[tuple[str, int], int]:
    """The high watermarks, or the last stable offsets."""
    level = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
    return _list_offsets(bootstrap, partitions, OffsetSpec.latest(), level)


def start_offsets(
    bootstrap: str, partitions: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """The log starts."""
    return _list_offsets(
        bootstrap, partitions, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED
    )


def _list_offsets(
    bootstrap: str, partitions: Iterable[tuple[str, int]], spec: OffsetSpec, level: IsolationLevel
) -> dict[tuple[str, int], int]:
    request = {TopicPartition(topic, partition): spec for topic, partition in partitions}
    client = admin_client(bootstrap)
    answers = client.list_offsets(request, isolation_level=level)
    return {
        (at.topic, at.partition): done.result(_TIMEOUT_SECONDS).offset
        for at, done in answers.items()
    }
