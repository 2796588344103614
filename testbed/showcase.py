"""A load on all three systems that shows something on every dashboard, and its Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed import nsq_data, rabbit_data
from testbed.alerting import SCALE, Alerting, paced
from testbed.background import Repeated
from testbed.consuming import Delivery, Outcome
from testbed.exporter import Exporter, kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import create_topic
from testbed.kafka_load import Feed, Reader
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster

SOURCES = ("shop", "jobs", "events")
"""Of Kafka, RabbitMQ and NSQ."""
LONG = 60
"""Letters of a long name."""
THRESHOLDS = {"lag_messages": 2_000, "lag_seconds": "15s", "stop_seconds": f"{300 // SCALE}s"}

SCALING = {
    "maximum": 12,
    "drain_time": "1m",
    "cooldown_out": f"{60 // SCALE}s",
    "cooldown_in": f"{600 // SCALE}s",
}
"""Advice for every subscription. Nobody follows it here."""


class Showcase:
    """A context manager with everything running. Times are divided by the `SCALE` of `Alerting`.

    At first every consumer keeps up. After `slow_down` some are too slow, and one is gone. After
    `recover` one of the slow ones catches up.
    """

    def __init__(
        self, folder: Path, clusters: Sequence[str] = (), *, long_names: bool = False
    ) -> None:
        """With `clusters`, Prometheus has everything once for each of them."""
        self._folder, self._clusters, self._long_names = folder, clusters, long_names
        self._slow: list[Callable[[], None]] = []
        self._recovered: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            sources = [*self._kafka(stack), *self._rabbitmq(stack), *self._nsq(stack)]
            exporter = Exporter(self._folder, sources, defaults=paced(SCALE))
            exporter.write(sources, thresholds=[THRESHOLDS], scaling=[SCALING])
            stack.enter_context(exporter)
            address = f"127.0.0.1:{exporter.port}"
            alerting = Alerting(self._folder, address, clusters=self._clusters)
            self.prometheus_url = stack.enter_context(alerting).prometheus_url
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def name(self, short: str) -> str:
        """The name of a topic, group, queue or channel."""
        if not self._long_names:
            return short
        return f"{short}-of-the-department-with-the-long-name-{'x' * LONG}"[:LONG]

    def slow_down(self) -> None:
        for each in self._slow:
            each()

    def recover(self) -> None:
        for each in self._recovered:
            each()

    def _changes(self, consumer: Any, slow: float, recovered: float | None = None) -> None:
        self._slow.append(lambda: setattr(consumer, "rate", slow))
        if recovered is not None:
            self._recovered.append(lambda: setattr(consumer, "rate", recovered))

    def _kafka(self, stack: ExitStack) -> list[dict[str, Any]]:
        kafka = stack.enter_context(KafkaCluster(1))
        servers = kafka.bootstrap
        orders, payments = self.name("orders"), self.name("payments")
        create_topic(servers, orders, 4, 1, {"retention.ms": "600000"})
        create_topic(servers, payments, 2, 1)
        stack.enter_context(Feed(servers, orders, 150.0))
        stack.enter_context(Feed(servers, payments, 40.0))
        groups = (("billing", orders), ("shipping", orders), ("ledger", payments))
        billing, shipping, ledger = (
            stack.enter_context(Reader(servers, self.name(group), topic, 400.0))
            for group, topic in groups
        )
        stack.enter_context(Reader(servers, self.name("audit"), payments))
        self._changes(billing, 60.0)
        self._changes(shipping, 110.0, 400.0)
        self._slow.append(lambda: _ended(ledger))
        return [kafka_source(servers, SOURCES[0])]

    def _rabbitmq(self, stack: ExitStack) -> list[dict[str, Any]]:
        rabbit = stack.enter_context(RabbitCluster(1, quick_statistics=True))
        url = rabbit.amqp_url()
        mails, invoices, unread = map(self.name, ("mails", "invoices", "unread"))
        rabbit_data.declare(url, mails)
        rabbit_data.declare(url, invoices, "quorum")
        rabbit_data.declare(url, unread)

        def sometimes_fails(delivery: Delivery) -> Outcome:
            first = delivery.attempts == 1
            return "requeue" if first and int(delivery.enqueued_at * 1000) % 20 == 0 else "finish"

        slow = rabbit_data.RabbitConsumer(url, mails, 100.0, outcome=sometimes_fails)
        stack.enter_context(slow)
        stack.enter_context(rabbit_data.RabbitConsumer(url, invoices, 60.0))
        stack.enter_context(Repeated(1.0, lambda: self._publish(url, mails, 40)))
        stack.enter_context(Repeated(1.0, lambda: self._publish(url, invoices, 20)))
        self._changes(slow, 15.0)
        self._slow.append(lambda: self._publish(url, unread, 300))
        return [rabbit_source(rabbit, SOURCES[1])]

    def _nsq(self, stack: ExitStack) -> list[dict[str, Any]]:
        nsq = stack.enter_context(NsqCluster(nsqds=2, lookupds=1))
        clicks, unheard = self.name("clicks"), self.name("unheard")
        channels = [self.name(name) for name in ("archive", "fraud-check")]
        for nsqd in nsq.nsqds:
            url, address = nsq.http_url(nsqd), nsq.tcp_address(nsqd)
            for channel in channels:
                nsq_data.create_channel(url, clicks, channel)
            archive = nsq_data.NsqConsumer(address, clicks, channels[0], 100.0)
            stack.enter_context(archive)
            stack.enter_context(nsq_data.NsqConsumer(address, clicks, channels[1], 100.0))
            stack.enter_context(Repeated(0.5, lambda url=url: self._click(url, clicks)))  # type: ignore[misc]
            self._changes(archive, 10.0, 200.0)
        url = nsq.http_url(nsq.nsqds[0])
        nsq_data.create_topic(url, unheard)
        self._slow.append(lambda: nsq_data.publish_all(url, unheard, [b"x"] * 50))
        return [nsq_source(nsq, SOURCES[2])]

    @staticmethod
    def _publish(url: str, queue: str, count: int) -> None:
        rabbit_data.publish(url, queue, count, body=bytes(count * 20))

    @staticmethod
    def _click(url: str, topic: str) -> None:
        nsq_data.publish_all(url, topic, [b"x"] * 20)
        nsq_data.publish(url, topic, defer_ms=20_000)


def _ended(reader: Reader) -> None:
    """End a consumer; leaving its group may take some seconds."""
    threading.Thread(target=reader.stop, daemon=True).start()
