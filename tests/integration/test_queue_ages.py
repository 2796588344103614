"""How far off the estimated ages are, under a load that swings, by what producers and consumers themselves recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pika
import pytest

from tests.support import nsq_data, rabbit_data
from tests.support.exporter import Exporter, Scrape, nsq_source, rabbit_source
from tests.support.nsq import NsqCluster
from tests.support.rabbitmq import RabbitCluster
from tests.support.swinging import SwingingProducer, Truth

SECONDS = 75.0
"""Length of the load."""
PERIOD = 33.0
"""Seconds of one swing; no multiple of a look, so that each look meets another part of it."""
RATE = 40.0
"""What the consumers process a second: the mean of the load, so the backlog comes and goes."""
LOOK = 5.0
"""Seconds between two looks; the statistics of RabbitMQ are as old as they are by default."""
KINDS = ("classic", "quorum", "nsq")
MOST = {"classic": 2.0, "quorum": 2.0, "nsq": 1.0}
"""Seconds of mean error."""

Seen = dict[str, list[tuple[float, float]]]
"""By kind: when a look began (UNIX time), and the age that it found."""


class Send:
    """Publishes to one queue over a connection of its own."""

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
    """What one daemon said of three queues under the same load, and what was so."""
    with ExitStack() as stack:
        rabbit = stack.enter_context(RabbitCluster())
        nsq = stack.enter_context(NsqCluster())
        url, http = rabbit.amqp_url(), nsq.http_url()
        for kind in ("classic", "quorum"):
            rabbit_data.declare(url, kind, kind)
        nsq_data.create_channel(http, "nsq", "c")
        schedule = {"backlog": f"{LOOK:g}s", "latency": f"{LOOK:g}s", "rates": f"{LOOK:g}s"}
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
    """Note the ages of each look."""
    seen: Seen = {kind: [] for kind in KINDS}
    known: dict[str, float] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        page = exporter.scrape()
        for kind in KINDS:
            began = began_at(page, kind)
            age = page.find("mq_lag_seconds", destination=kind)
            if began is not None and began != known.get(kind) and age:
                known[kind] = began
                seen[kind].append((began, next(iter(age.values()))))
        time.sleep(0.2)
    return seen


def began_at(page: Scrape, kind: str) -> float | None:
    """When the last look that the age comes from began."""
    source, task = ("nsq", "backlog") if kind == "nsq" else ("rabbit", "latency")
    metric = "mq_collect_last_success_timestamp_seconds"
    return page.value(metric, source=source, task=task)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_error_of_an_estimated_age(
    measured: tuple[Seen, dict[str, Truth]], kind: str
) -> None:
    seen, truths = measured
    looks = seen[kind][1:]
    assert len(looks) >= SECONDS / LOOK / 2
    errors = [age - truths[kind].age(at) for at, age in looks]
    mean = sum(map(abs, errors)) / len(errors)
    truth = [truths[kind].age(at) for at, _ in looks]
    print(f"{kind}: mean error {mean:.2f} s, largest {max(map(abs, errors)):.2f} s")  # noqa: T201
    assert max(truth) > 3, "there was something to be measured"
    assert mean < MOST[kind]
