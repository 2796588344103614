"""Producers and consumers of RabbitMQ's stream protocol, for tests.

The client library is asynchronous. Its loop runs in a thread, so that tests can make plain calls.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, Self, TypeVar

import rstream

from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of
from testbed.waiting import wait_until

T = TypeVar("T")
From = Literal["first", "next"]


class StreamClients:
    """Producers and consumers of one node; they are closed after the block."""

    def __init__(self, cluster: RabbitCluster) -> None:
        self._login: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": cluster.port("stream"),
            "username": "admin",
            "password": password_of("admin"),
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._readers: list[Reader] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._producer = self.run(self._connected())
        return self

    def __exit__(self, *_: object) -> None:
        for reader in list(self._readers):
            reader.close()
        self.run(self._producer.close())
        self.run(self._rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of the call, which runs on the loop."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(60)

    def create(self, stream: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Create a stream."""
        self.run(self._producer.create_stream(stream, arguments=dict(arguments or {})))

    def create_super(self, name: str, partitions: int) -> None:
        """Create a super stream with the streams NAME-0 and so on."""
        numbers = [str(number) for number in range(partitions)]
        streams = [f"{name}-{number}" for number in numbers]

        async def create() -> None:
            client = await self._producer.default_client
            await client.create_super_stream(name, streams, numbers)

        self.run(create())

    def publish(self, stream: str, count: int) -> None:
        """Publish messages one by one, so that each is a separate chunk."""

        async def publish() -> None:
            for _ in range(count):
                message = rstream.AMQPMessage(body=b"x")
                await self._producer.send_wait(stream, message, timeout=60)

        self.run(publish())

    def reader(
        self, stream: str, name: str | None = None, start: From = "first", *, single: bool = False
    ) -> Reader:
        """A consumer that accepts all messages.

        With `single`, only one with its name reads at a time.
        """
        reader = Reader(self, self._login, stream, name)
        self.run(reader.start(start, single=single))
        self._readers.append(reader)
        return reader

    async def _rest(self) -> None:
        """Stop what the library leaves running."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _connected(self) -> rstream.Producer:
        producer = rstream.Producer(**self._login)
        await producer.start()
        return producer


class Reader:
    """A consumer of one stream on a separate connection."""

    def __init__(
        self, clients: StreamClients, login: Mapping[str, Any], stream: str, name: str | None
    ) -> None:
        self.received = 0
        self._clients = clients
        self._stream, self._name = stream, name
        self._consumer = rstream.Consumer(**login)
        self._closed = False

    async def start(self, start: From, *, single: bool) -> None:
        """Start reading."""
        kinds = {"first": rstream.OffsetType.FIRST, "next": rstream.OffsetType.NEXT}
        specification = rstream.ConsumerOffsetSpecification(kinds[start], None)
        properties: dict[str, Any] = {} if self._name is None else {"name": self._name}
        if single:
            properties["single-active-consumer"] = "true"

        async def updated(is_active: bool, context: Any) -> Any:
            return rstream.OffsetSpecification(kinds[start], 0)

        await self._consumer.start()
        await self._consumer.subscribe(
            self._stream,
            self._take,
            decoder=rstream.amqp_decoder,
            offset_specification=specification,
            properties=properties,
            consumer_update_listener=updated if single else None,
        )

    def wait_received(self, count: int) -> None:
        """Return when it has received this many messages."""
        wait_until(lambda: self.received >= count, f"{count} messages", 60)

    def store(self, offset: int) -> None:
        """Store the offset of the last processed message."""
        assert self._name is not None
        self._clients.run(self._consumer.store_offset(self._stream, self._name, offset))

    def close(self) -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            self._clients.run(self._consumer.close())

    async def _take(self, message: Any, context: Any) -> None:
        self.received += 1
