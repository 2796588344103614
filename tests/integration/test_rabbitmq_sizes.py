"""The mean message size of queues that fill and drain: every value is held against the truth."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import rabbit_data as data
from testbed.exporter import Exporter, rabbit_source
from testbed.rabbit_data import QueueKind, RabbitConsumer
from testbed.rabbitmq import RabbitCluster

SIZE = 10_000
QUICK: dict[str, Any] = {
    "schedule": {"backlog": "300ms", "rates": "1s", "latency": "300ms", "discovery": "1s"}
}
KINDS: dict[str, tuple[QueueKind, tuple[bool, ...]]] = {
    # Queue to its kind, and which of its messages are persistent.
    "sizes-persistent": ("classic", (True,)),
    "sizes-transient": ("classic", (False,)),
    "sizes-mixed": ("classic", (True, False)),
    "sizes-quorum": ("quorum", (True,)),
    "sizes-priority": ("priority", (False,)),
}
BURST = 40
WATCH_SECONDS = 30.0
PAUSE_SECONDS = 0.7


def fill(url: str, queue: str, persistent: tuple[bool, ...], stop: threading.Event) -> None:
    """Publish bursts, with pauses in which the queue drains."""
    for each in itertools.cycle(persistent):
        if stop.wait(PAUSE_SECONDS):
            return
        data.publish(url, queue, BURST, body=bytes(SIZE), persistent=each)


@pytest.fixture
def busy(rabbitmq: RabbitCluster) -> Iterator[None]:
    """Queues that fill and drain all the time."""
    url, stop = rabbitmq.amqp_url(), threading.Event()
    threads, consumers = [], []
    for queue, (kind, persistent) in KINDS.items():
        data.declare(url, queue, kind)
        threads.append(threading.Thread(target=fill, args=(url, queue, persistent, stop)))
        consumers.append(RabbitConsumer(url, queue, rate=2 * BURST, prefetch=10))
    for thread in threads:
        thread.start()
    for consumer in consumers:
        consumer.__enter__()
    yield
    stop.set()
    for thread in threads:
        thread.join()
    for consumer in consumers:
        consumer.__exit__(None, None, None)


@pytest.mark.usefixtures("busy")
def test_every_mean_size_is_that_of_the_messages(rabbitmq: RabbitCluster, tmp_path: Path) -> None:
    found: dict[str, set[float]] = {queue: set() for queue in KINDS}
    with Exporter(tmp_path, [rabbit_source(rabbitmq, **QUICK)]) as exporter:
        until = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < until:
            page = exporter.scrape()
            for queue, sizes in found.items():
                size = page.value("mq_message_size_bytes", destination=queue)
                if size is not None:
                    sizes.add(size)
            time.sleep(0.3)
    assert found == {queue: {SIZE} for queue in KINDS}
