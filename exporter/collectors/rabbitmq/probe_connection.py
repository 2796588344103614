"""A probe's AMQP connection to one RabbitMQ node, its queue, and the messages sent over it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pika
from pika.adapters.select_connection import IOLoop

from exporter.collectors.rabbitmq.faults import fault_of
from exporter.collectors.rabbitmq.probe_endpoint import Endpoint
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import CollectError, NodeProbe, Problem, Until

PREFETCH = 10
MOST_ATTEMPTS = 2
"""How often a probe is tried again."""
CLOSE_SECONDS, ABORT_SECONDS = 0.2, 0.02
"""Time for the node to close the connection, and for the loop to close the socket."""


def _never() -> bool:
    return False


class ProbeOutcome(NamedTuple):
    """The result of one probe."""

    probe: NodeProbe
    problem: Problem | None = None


class _ProbeMessage:
    """A sent message; times are on the monotonic clock."""

    def __init__(self, number: int) -> None:
        self.body = b"%d" % number
        self.sent: float | None = None
        self.published: float | None = None
        self.received: float | None = None
        self.acknowledged: float | None = None

    @property
    def is_over(self) -> bool:
        return self.published is not None and self.acknowledged is not None

    def probe(self, node: str) -> NodeProbe:
        """Return the times since the message was sent."""
        start = self.sent
        if start is None:
            return NodeProbe(node, sent=False, publish=None, receive=None, ack=None)
        times = (self.published, self.received, self.acknowledged)
        publish, receive, ack = (None if at is None else at - start for at in times)
        if publish is None:
            receive = ack = None
        return NodeProbe(node, sent=True, publish=publish, receive=receive, ack=ack)


class ProbeConnection:
    """Keeps a connection open between probes; pika is run only during these.

    Used by one thread at a time.
    """

    def __init__(self, settings: RabbitSettings, url: str) -> None:
        self.url = url
        self._settings = settings
        self._endpoint = Endpoint(settings, url)
        self.node = self._endpoint.node
        self._queue = ""
        self._number = 0
        self._loop: Any = None
        self._connection: Any = None
        self._channel: Any = None
        self._ready = False
        self._blocked = False
        self._fault: CollectError | None = None
        self._message: _ProbeMessage | None = None
        self._done: Callable[[], bool] = _never

    @property
    def queue(self) -> str:
        """Name of the probe's queue; empty without a connection."""
        return self._queue if self._ready else ""

    def probe(self, seconds: float) -> ProbeOutcome:
        """Send one message and wait for it, at most `seconds`. Never raises."""
        until = Until(seconds)
        message = self._new_message()
        reused = self._ready
        self._try(message, until)
        for attempt in range(MOST_ATTEMPTS):
            if self._fault is None or self._blocked or message.published is not None:
                break
            # The node was restarted or has closed the connection since the last probe. That says
            # nothing about its state now, so try again. The same applies if it refused secrets
            # that have been replaced since.
            if not (reused and attempt == 0) and not self._endpoint.is_renewed():
                break
            self.close()
            message = self._new_message()
            self._try(message, until)
        fault = self._fault
        if fault is None and message.published is None:
            fault = self._silence()
        probe = message.probe(self.node)
        if fault is not None:
            self.close()
            problem = Problem(fault.reason, self.node, str(fault))
            return ProbeOutcome(probe, None if probe.receive is not None else problem)
        return ProbeOutcome(probe)

    def close(self) -> None:
        """Close the connection; abort it if the node does not close it in time."""
        connection, loop = self._connection, self._loop
        self._connection = self._channel = self._loop = None
        self._ready = self._blocked = False
        self._fault = None
        if connection is None:
            return
        try:
            if connection.is_open:
                connection.add_on_close_callback(lambda *_: loop.stop())
                connection.close()
                loop.call_later(CLOSE_SECONDS, loop.stop)
                loop.start()
            transport = connection._transport
            if transport is not None:
                transport.abort()
                # abort() only asks the loop to close the socket.
                loop.call_later(ABORT_SECONDS, loop.stop)
                loop.start()
            loop.close()
        except Exception:  # noqa: BLE001, S110 - the connection is given up, whatever the error is
            pass

    # One probe

    def _new_message(self) -> _ProbeMessage:
        self._number += 1
        return _ProbeMessage(self._number)

    def _try(self, message: _ProbeMessage, until: Until) -> None:
        self._message = message
        try:
            if not self._ready:
                self._connect()
                self._run(until, lambda: self._ready)
            if self._ready and self._fault is None:
                message.sent = time.monotonic()
                self._channel.basic_publish("", self._queue, message.body, mandatory=True)
                self._run(until, lambda: message.is_over)
        except CollectError as error:
            self._fault = error
        except Exception as error:  # noqa: BLE001 - pika raises many kinds from its callbacks
            self._fault = fault_of(error)
        finally:
            self._message = None

    def _run(self, until: Until, done: Callable[[], bool]) -> None:
        """Run the connection until `done`, until an error occurs or until the time is over."""
        if done() or self._fault is not None:
            return
        loop = self._loop
        self._done = done
        timer = loop.call_later(until.remaining(), loop.stop)
        loop.start()
        loop.remove_timeout(timer)

    def _step(self) -> None:
        """Let `_run` return if it has what it waits for. Called after each event."""
        if self._loop is not None and (self._fault is not None or self._done()):
            self._loop.stop()

    def _fail(self, fault: CollectError) -> None:
        if self._fault is None:
            self._fault = fault
        self._ready = False
        self._step()

    def _silence(self) -> CollectError:
        """Return why nothing arrived in time."""
        if self._blocked:
            return CollectError(
                "timeout",
                "the node blocks publishers because of a memory or disk alarm in the cluster; free "
                "memory or disk space, or raise the limit",
            )
        return CollectError("timeout", "the node did not respond in time")

    # Connecting, step by step

    def _connect(self) -> None:
        self.close()
        # The name is new each time: the node may not have noticed that the last connection is gone,
        # and then still has its queue.
        self._queue = f"{self._settings.probe_queue}.{os.urandom(6).hex()}"
        self._loop = IOLoop()
        self._done = _never
        self._connection = pika.SelectConnection(
            self._endpoint.parameters(),
            on_open_callback=self._on_open,
            on_open_error_callback=lambda _, error: self._fail(fault_of(error)),
            on_close_callback=lambda _, error: self._fail(fault_of(error)),
            custom_ioloop=self._loop,
        )

    def _on_open(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _, error: self._fail(fault_of(error)))
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._declare(channel))

    def _declare(self, channel: Any) -> None:
        milliseconds = int(self._settings.probe_deadline * 1000)
        channel.queue_declare(
            self._queue,
            exclusive=True,
            arguments={
                "x-message-ttl": milliseconds,
                "x-max-length": 100,
                "x-expires": max(10 * milliseconds, 60_000),
            },
            callback=lambda _: channel.basic_qos(
                prefetch_count=PREFETCH, callback=lambda _: self._consume(channel)
            ),
        )

    def _consume(self, channel: Any) -> None:
        channel.basic_consume(
            self._queue, self._on_message, exclusive=True, callback=self._on_consuming
        )

    def _on_consuming(self, _: Any) -> None:
        self._ready = True
        self._step()

    # What happens to a message

    def _on_confirm(self, frame: Any) -> None:
        message = self._message
        if message is None or message.published is not None:
            return
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self._fail(CollectError("invalid", "the node rejected the message (nack); see its log"))
            return
        message.published = time.monotonic()
        self._step()

    def _on_message(self, channel: Any, method: Any, _: Any, body: bytes) -> None:
        now = time.monotonic()
        message = self._message
        channel.basic_ack(method.delivery_tag)
        if message is None or message.body != body or message.received is not None:
            return  # it arrived after its deadline and counts as lost
        message.received = now
        # RabbitMQ does not respond to an ack. It responds to a later request on the same channel
        # once it has handled the ack.
        channel.basic_qos(
            prefetch_count=PREFETCH, callback=lambda _: self._on_acknowledged(message)
        )

    def _on_acknowledged(self, message: _ProbeMessage) -> None:
        message.acknowledged = time.monotonic()
        self._step()

    def _on_return(self, *_: Any) -> None:
        self._fail(
            CollectError(
                "invalid", "the probe's queue no longer exists, so its message could not be routed"
            )
        )

    def _on_blocked(self, *_: Any) -> None:
        self._blocked = True

    def _on_unblocked(self, *_: Any) -> None:
        self._blocked = False
