"""Errors of the estimated ages, as Prometheus scrapes them.

With the default schedule and a varying load.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pika
import pytest

from testbed import nsq_data, rabbit_data
from testbed.exporter import Exporter, nsq_source, rabbit_source
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.swinging import SwingingProducer, Truth

SECONDS = 75.0
"""Duration of the load."""
PERIOD = 33.0
"""Seconds of one period; no multiple of a poll interval, so that polls meet all parts of it."""
SETTLED = 15.0
"""Seconds until a queue's counts are known."""
RATE = 40.0
"""Messages a second that the consumers process: the mean load, so the backlog comes and goes."""
KINDS = ("classic", "quorum", "nsq")
MOST = {"classic": 3.0, "quorum": 3.0, "nsq": 1.5}
"""Seconds of mean error.

It is 1.3, 1.8 and 0.6 on a quiet machine; a busy machine delays polls and clients.
"""

Seen = dict[str, list[tuple[float, float]]]
"""By kind: when the metrics were scraped (Unix time), and the exposed age."""


class Send:
    """Publishes to one queue over its own connection."""

    def __init__(self, url: str, queue: str) -> None:
        self._queue = queue
        self._connection = pika.BlockingConnection(rabbit_data.parameters(url))
        self._channel = self._connection.channel()

    def __call__(self, body: bytes) -> None:
        headers = {rabbit_data.ENQUEUED_AT: time.time_ns()}
        properties = pika.BasicProperties(headers=headers)
        self._channel.basic_publish("", self._queue, body, properties)
        self._connection.process_data_events(0)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seen, dict[str, Truth]]]:
    """The ages that one daemon exposed for three queues under the same load, and the true ones."""
    with ExitStack() as stack:
        rabbit = stack.enter_context(RabbitCluster())
        nsq = stack.enter_context(NsqCluster())
        url, http = rabbit.amqp_url(), nsq.http_url()
        for kind in ("classic", "quorum"):
            rabbit_data.declare(url, kind, kind)
        nsq_data.create_channel(http, "nsq", "c")
        schedule = {"backlog": "10s", "latency": "10s", "rates": "30s"}  # the defaults
        sources = [
            rabbit_source(rabbit, schedule=schedule, name="rabbit"),
            nsq_source(nsq, schedule=schedule, name="nsq"),
        ]
        exporter = stack.enter_context(Exporter(tmp_path_factory.mktemp("ages"), sources))
        exporter.wait(lambda page: len(page.find("mq_consumers")) == len(KINDS), "the queues")
        consumers: dict[str, Any] = {
            kind: stack.enter_context(rabbit_data.RabbitConsumer(url, kind, RATE))
            for kind in ("classic", "quorum")
        }
        address = nsq.tcp_address()
        consumers["nsq"] = stack.enter_context(nsq_data.NsqConsumer(address, "nsq", "c", RATE))
        sends: dict[str, Any] = {
            kind: stack.enter_context(closing(Send(url, kind))) for kind in ("classic", "quorum")
        }
        sends["nsq"] = lambda body: nsq_data.publish(http, "nsq", body)
        producers = {
            kind: stack.enter_context(SwingingProducer(send, PERIOD))
            for kind, send in sends.items()
        }
        seen = watch(exporter, SECONDS)
        truths = {kind: Truth(producers[kind], consumers[kind]) for kind in KINDS}
        yield seen, truths


def watch(exporter: Exporter, seconds: float) -> Seen:
    """Store the exposed ages, twice a second."""
    seen: Seen = {kind: [] for kind in KINDS}
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        at, page = time.time(), exporter.scrape()
        for kind in KINDS:
            age = page.value("mq_lag_seconds", destination=kind)
            if age is not None and time.monotonic() > began + SETTLED:
                seen[kind].append((at, age))
        time.sleep(0.5)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_error_of_an_estimated_age(
    measured: tuple[Seen, dict[str, Truth]], kind: str
) -> None:
    seen, truths = measured
    looks = seen[kind]
    assert len(looks) >= SECONDS / 5
    errors = [age - truths[kind].age(at) for at, age in looks]
    mean = sum(map(abs, errors)) / len(errors)
    truth = [truths[kind].age(at) for at, _ in looks]
    print(f"{kind}: mean error {mean:.2f} s, largest {max(map(abs, errors)):.2f} s")  # noqa: T201
    assert max(truth) > 3, "there was something to be measured"
    assert mean < MOST[kind]
