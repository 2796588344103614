"""Queues, messages and consumers of a RabbitMQ cluster, for tests.

`url` is an AMQP URL with user, password and vhost in it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.spec import Basic, BasicProperties

from testbed.consuming import Delivery, Outcome, PacedConsumer
from testbed.rabbitmq import RabbitCluster

QueueKind = Literal["classic", "quorum", "stream", "lazy", "priority"]

ENQUEUED_AT = "enqueued-at-ns"
"""The header in which `publish` writes when it sent a message, in UNIX nanoseconds."""

_KINDS: Mapping[QueueKind, Mapping[str, Any]] = {
    "classic": {},
    "quorum": {"x-queue-type": "quorum"},
    "stream": {"x-queue-type": "stream"},
    "lazy": {"x-queue-mode": "lazy"},
    "priority": {"x-max-priority": 5},
}

T = TypeVar("T")


def parameters(url: str, ca_file: Path | None = None) -> pika.URLParameters:
    """Parameters of a connection that notices a dead broker within seconds.

    The CA file is for `amqps`.
    """
    found = pika.URLParameters(url)
    found.heartbeat = 60
    found.socket_timeout = 10
    found.stack_timeout = 15
    found.blocked_connection_timeout = 30
    found.connection_attempts = 1
    if ca_file is not None:
        context = ssl.create_default_context(cafile=str(ca_file))
        found.ssl_options = pika.SSLOptions(context, "127.0.0.1")
    return found


@contextmanager
def channel(url: str, ca_file: Path | None = None) -> Iterator[BlockingChannel]:
    """A channel on a separate connection, which is closed after the block."""
    connection = BlockingConnection(parameters(url, ca_file))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


# Queues


def declare(
    url: str,
    queue: str,
    kind: QueueKind = "classic",
    *,
    durable: bool = True,
    auto_delete: bool = False,
    ttl_ms: int | None = None,
    max_length: int | None = None,
    dead_letter_to: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """Declare a queue; dead letters go to another queue of the vhost."""
    with channel(url) as ch:
        given = {
            "x-message-ttl": ttl_ms,
            "x-max-length": max_length,
            "x-dead-letter-routing-key": dead_letter_to,
            "x-dead-letter-exchange": None if dead_letter_to is None else "",
        }
        ch.queue_declare(
            queue,
            durable=durable,
            auto_delete=auto_delete,
            arguments={
                **_KINDS[kind],
                **{key: value for key, value in given.items() if value is not None},
                **(arguments or {}),
            },
        )


@contextmanager
def exclusive_queue(url: str, queue: str) -> Iterator[None]:
    """A queue that only its own connection may use, and that is deleted with it after the block."""
    with channel(url) as ch:
        ch.queue_declare(queue, exclusive=True)
        yield


def delete_queue(url: str, queue: str) -> None:
    with channel(url) as ch:
        ch.queue_delete(queue)


def delete_all_queues(cluster: RabbitCluster) -> None:
    """Delete the queues of every vhost that `admin` may access.

    Exclusive ones go with their connection.
    """
    for row in cluster.api("GET", "queues?columns=vhost,name,exclusive"):
        if not row.get("exclusive"):
            delete_queue(cluster.amqp_url(vhost=row["vhost"]), row["name"])


def purge(url: str, queue: str) -> None:
    """Drop all ready messages."""
    with channel(url) as ch:
        ch.queue_purge(queue)


def ready_count(url: str, queue: str) -> int:
    """How many messages are ready, those without ack not counted.

    As the queue itself says now; a quorum queue that has just restarted says 0 until its first
    tick, which comes after 5 s (with quick statistics, half a second).
    """
    with channel(url) as ch:
        return ch.queue_declare(queue, passive=True).method.message_count


# Messages


def publish(
    url: str,
    queue: str,
    n: int = 1,
    *,
    body: bytes | Callable[[int], bytes] = b"v",
    timestamp_seconds: int | Callable[[int], int] | None = None,
    ttl_ms: int | None = None,
    priority: int | None = None,
    persistent: bool = True,
    ca_file: Path | None = None,
) -> None:
    """Publish n messages, each confirmed by the broker before the next: about 2,000 per second.

    The body and the timestamp property can be functions of the message's number, from 0. Raises
    `pika.exceptions.UnroutableError` without such a queue, `NackError` if it rejects a message.
    """
    with channel(url, ca_file) as ch:
        ch.confirm_delivery()
        for i in range(n):
            properties = BasicProperties(
                headers={ENQUEUED_AT: time.time_ns()},
                delivery_mode=2 if persistent else 1,
                timestamp=_nth(timestamp_seconds, i),
                expiration=None if ttl_ms is None else str(ttl_ms),
                priority=priority,
            )
            ch.basic_publish("", queue, _nth(body, i), properties, mandatory=True)


def get(
    url: str,
    queue: str,
    n: int = 1,
    outcome: Outcome | Literal["auto_ack"] = "finish",
) -> list[Delivery]:
    """Fetches n messages one by one (`basic.get`), or all that are ready if they are fewer.

    What becomes of them is settled when all are fetched; with `auto_ack`, as they are delivered.
    """
    with channel(url) as ch:
        found: list[Delivery] = []
        tags: list[int] = []
        while len(found) < n:
            method, properties, body = ch.basic_get(queue, auto_ack=outcome == "auto_ack")
            if method is None or properties is None or body is None:
                break
            assert method.delivery_tag is not None
            found.append(_delivery(method.redelivered, properties, body))
            tags.append(method.delivery_tag)
        if outcome != "auto_ack":
            for tag in tags:
                _settle(ch, tag, outcome)
        return found


class RabbitConsumer(PacedConsumer[int]):
    """A consumer of one queue; the broker delivers at most `prefetch` messages ahead of the acks.

    With `auto_ack` a message is gone from the queue when it is delivered. `arguments` are those of
    the subscription: `{"x-stream-offset": "first"}`.
    """

    def __init__(
        self,
        url: str,
        queue: str,
        rate: float | None = None,
        *,
        prefetch: int = 100,
        auto_ack: bool = False,
        outcome: Callable[[Delivery], Outcome] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(rate, outcome)
        self._url, self._queue, self._prefetch = url, queue, prefetch
        self._auto_ack, self._arguments = auto_ack, dict(arguments or {})

    def _open(self) -> None:
        self._connection = BlockingConnection(parameters(self._url))
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=self._prefetch)
        self._channel.basic_consume(
            self._queue, self._delivered, auto_ack=self._auto_ack, arguments=self._arguments
        )

    def _delivered(
        self,
        _: BlockingChannel,
        method: Basic.Deliver,
        properties: BasicProperties,
        body: bytes,
    ) -> None:
        assert method.delivery_tag is not None
        self._hold(method.delivery_tag, _delivery(method.redelivered, properties, body))

    def _receive(self, seconds: float) -> None:
        self._connection.process_data_events(time_limit=seconds)
        if self._channel.is_closed:
            raise RuntimeError(f"the broker has closed the channel of {self._queue}")

    def _settle(self, handle: int, outcome: Outcome) -> None:
        if not self._auto_ack:
            _settle(self._channel, handle, outcome)

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()


def _settle(ch: BlockingChannel, tag: int, outcome: Outcome) -> None:
    if outcome == "finish":
        ch.basic_ack(tag)
    else:
        ch.basic_nack(tag, requeue=outcome == "requeue")


def _delivery(redelivered: bool | None, properties: BasicProperties, body: bytes) -> Delivery:
    enqueued_at_ns = (properties.headers or {})[ENQUEUED_AT]
    assert isinstance(enqueued_at_ns, int)
    return Delivery(
        body=body,
        enqueued_at=enqueued_at_ns / 1e9,
        delivered_at=time.time(),
        attempts=2 if redelivered else 1,
    )


def _nth(given: T | Callable[[int], T], i: int) -> T:
    return given(i) if callable(given) else given
