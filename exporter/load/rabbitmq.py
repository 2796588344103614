"""A workload on a RabbitMQ queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pika
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from exporter.load.clients import Delivery, LoadError, Receiver, Sender

PREFETCH = 20


def rabbit_workload(
    address: str, destination: str, _: str, retention: float | None
) -> RabbitWorkload:
    """Return the workload (`systems.System.workload`); nothing is connected yet."""
    if retention is not None:
        raise LoadError("--retention applies to Kafka topics only")
    return RabbitWorkload(address, destination)


class RabbitWorkload:
    """A queue, published to by the default exchange."""

    broken = (AMQPError, OSError)

    def __init__(self, address: str, queue: str) -> None:
        self._address = address
        self._queue = queue

    def prepare(self, consumers: int) -> None:
        """Create the queue, unless one of any type exists."""
        del consumers
        try:
            connection = pika.BlockingConnection(pika.URLParameters(self._address))
        except (ProbableAuthenticationError, AuthenticationError, ProbableAccessDeniedError):
            raise LoadError(
                "RabbitMQ rejected the login; check user, password and vhost in the address"
            ) from None
        except (AMQPError, OSError, ValueError, IndexError) as error:
            raise LoadError(
                f"cannot connect to RabbitMQ ({type(error).__name__}); check the address, such as "
                f"amqp://user:password@localhost:5672"
            ) from None
        try:
            try:
                connection.channel().queue_declare(self._queue, passive=True)
            except ChannelClosedByBroker:
                connection.channel().queue_declare(self._queue, durable=True)
        except AMQPError as error:
            raise LoadError(f"the queue {self._queue!r} cannot be created: {error}") from None
        finally:
            connection.close()

    def sender(self) -> Sender:
        """Connect a publisher."""
        return _RabbitSender(self._address, self._queue)

    def receiver(self) -> Receiver:
        """Connect a consumer."""
        return _RabbitReceiver(self._address, self._queue)


class _RabbitSender:
    def __init__(self, address: str, queue: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(address))
        self._channel = self._connection.channel()
        self._queue = queue

    def send(self, bodies: Sequence[bytes]) -> int:
        for body in bodies:
            self._channel.basic_publish("", self._queue, body)
        self._connection.process_data_events(0)
        return 0

    def close(self) -> int:
        self._connection.close()
        return 0


class _RabbitReceiver:
    def __init__(self, address: str, queue: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(address))
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._waiting: deque[Delivery] = deque()
        self._channel.basic_consume(queue, self._delivered)

    def receive(self, seconds: float) -> Delivery | None:
        if not self._waiting:
            self._connection.process_data_events(seconds)
        return self._waiting.popleft() if self._waiting else None

    def finish(self, delivery: Delivery) -> None:
        self._channel.basic_ack(delivery.handle)

    def reject(self, delivery: Delivery) -> None:
        self._channel.basic_nack(delivery.handle, requeue=True)

    def close(self) -> None:
        self._connection.close()

    def _delivered(self, _: Any, method: Any, __: Any, body: bytes) -> None:
        self._waiting.append(Delivery(body, method.delivery_tag))
