"""`python -m bench.queues`: measures the cost of a cycle for the exporter, RabbitMQ and NSQ.

2,000 RabbitMQ queues, and 500 topics with 5 channels each on one nsqd. For comparison, it also
measures the brokers' own metrics. Exits with 1 if a lag is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pika
import requests

from bench.processes import cpu_between, cpu_seconds
from testbed import nsq_data, rabbit_data
from testbed.exporter import Exporter, Scrape, nsq_source, rabbit_source
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster

QUEUES = 2_000
TOPICS, CHANNELS = 500, 5
CYCLES = 8
INTERVAL = 4.0
"""Seconds, long enough for a cycle and a pause."""
TARGETS = {"RabbitMQ": 0.15, "NSQ": 0.1}
"""Maximum CPU seconds of the exporter for a cycle of the backlog."""


class WrongError(Exception):
    """A value in the exposition is wrong."""


class Row(NamedTuple):
    """One measurement of a cycle or a request."""

    what: str
    seconds: float | None
    exporter: float | None
    """CPU seconds."""
    broker: float
    """CPU seconds."""
    size: int | None
    """Bytes."""


def measured_cycles(exporter: Exporter, broker: int, rest: float, task: str, what: str) -> Row:
    """Measure some cycles of a task, from the middle of a pause to the middle of another.

    `rest` is the broker's CPU time in one interval without requests. It is subtracted.
    """
    metric = "mq_collect_last_success_timestamp_seconds"

    def began() -> float:
        found = exporter.scrape().value(metric, source="test", task=task)
        if found is None:
            raise WrongError("the task has no time of its last success")
        return found

    def wait_middle() -> None:
        before = began()
        while began() == before:
            time.sleep(0.1)
        time.sleep(INTERVAL / 2)

    wait_middle()
    mine, theirs = cpu_seconds(exporter.pid), cpu_seconds(broker)
    time.sleep(INTERVAL * CYCLES)
    used = cpu_between(mine, cpu_seconds(exporter.pid)) / CYCLES
    cost = cpu_between(theirs, cpu_seconds(broker)) / CYCLES - rest
    took = exporter.scrape().value("mq_collect_duration_seconds", source="test", task=task)
    return Row(what, took, used, cost, None)


def idle(broker: int, seconds: float = 10.0) -> float:
    """Return the CPU seconds of the broker in one interval without requests."""
    before = cpu_seconds(broker)
    time.sleep(seconds)
    return cpu_between(before, cpu_seconds(broker)) / seconds * INTERVAL


def get(url: str, auth: tuple[str, str] | None = None) -> requests.Response:
    return requests.get(url, auth=auth, timeout=60)


def requested(broker: int, ask: Callable[[], requests.Response], what: str, times: int = 5) -> Row:
    """Measure a request, without the exporter."""
    ask()
    before, began = cpu_seconds(broker), time.monotonic()
    size = 0
    for _ in range(times):
        answer = ask()
        answer.raise_for_status()
        size = len(answer.content)
    seconds = (time.monotonic() - began) / times
    return Row(what, seconds, None, cpu_between(before, cpu_seconds(broker)) / times, size)


def rabbitmq(folder: Path) -> Iterator[Row]:
    """Measure RabbitMQ; raises `WrongError` if a lag is wrong."""
    with RabbitCluster() as rabbit:
        url = rabbit.amqp_url()
        names = [f"bench-{number:04}" for number in range(QUEUES)]
        with closing(pika.BlockingConnection(rabbit_data.parameters(url))) as connection:
            channel = connection.channel()
            for number, name in enumerate(names):
                channel.queue_declare(name, durable=True)
                for _ in range(number % 4):
                    channel.basic_publish("", name, b"x" * 20)
        truth = {name: number % 4 for number, name in enumerate(names)}
        pid = beam(rabbit)
        time.sleep(12)  # until the statistics include the new queues
        rest = idle(pid)
        yield Row("nobody asks, as long", None, None, rest, None)
        auth = ("admin", "admin-secret")
        for path, what in (
            ("/api/queues", "the whole API: /api/queues"),
            ("/api/queues?disable_stats=true&enable_queue_totals=true", "/api/queues with totals"),
        ):
            yield requested(pid, partial(get, rabbit.management_url() + path, auth), what)
        for path in ("/metrics/per-object", "/metrics/detailed?family=queue_coarse_metrics"):
            yield requested(pid, partial(get, rabbit.prometheus_url() + path), path)
        for task, more, what in (
            ("backlog", {}, "exporter: backlog"),
            (
                "backlog",
                {"prometheus_url": rabbit.prometheus_url()},
                "exporter: backlog by prometheus_url",
            ),
            ("rates", {}, "exporter: rates"),
            ("latency", {}, "exporter: backlog and the 50 most lagging"),
        ):
            schedule = dict.fromkeys(("backlog", "rates", "latency", "discovery"), "1h")
            schedule["backlog" if task == "latency" else task] = f"{INTERVAL:g}s"
            schedule[task] = f"{INTERVAL:g}s"
            source = rabbit_source(rabbit, schedule=schedule, probe={"enabled": False}, **more)
            with Exporter(folder, [source]) as exporter:
                exporter.wait(lambda p: lags(p) == truth, "the truth")
                exporter.wait(
                    lambda p: len(p.find("mq_consumed_messages_total")) == QUEUES, "counts"
                )
                yield measured_cycles(exporter, pid, rest, task, what)
                require(exporter.scrape(), truth)


def nsq(folder: Path) -> Iterator[Row]:
    """Measure NSQ; raises `WrongError` if a lag is wrong."""
    with NsqCluster() as cluster:
        url = cluster.http_url()

        def make(topic: int) -> None:
            for channel in range(CHANNELS):
                nsq_data.create_channel(url, f"bench-{topic:03}", f"c{channel}")
            nsq_data.publish_all(url, f"bench-{topic:03}", [b"x" * 20] * (1 + topic % 4))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(make, range(TOPICS)))
        pid = cluster._children["nsqd-0"].pid
        rest = idle(pid)
        yield Row("nobody asks, as long", None, None, rest, None)
        for path in (
            "/stats?format=json",
            "/stats?format=json&include_clients=false&include_mem=false",
        ):
            yield requested(pid, partial(get, url + path), path)
        schedule = {"backlog": f"{INTERVAL:g}s", "discovery": "1h"}
        source = nsq_source(cluster, schedule=schedule, probe={"enabled": False})
        with Exporter(folder, [source]) as exporter:
            scrape = exporter.wait(
                lambda p: len(p.find("mq_lag_messages")) == TOPICS * CHANNELS, "all"
            )
            truth = {f"bench-{topic:03}": 1 + topic % 4 for topic in range(TOPICS)}
            require(scrape, truth)
            yield measured_cycles(
                exporter, pid, rest, "backlog", "exporter: backlog (all there is)"
            )


def require(scrape: Scrape, truth: dict[str, int]) -> None:
    """Raise `WrongError` if a lag is wrong."""
    found = lags(scrape)
    wrong = {name for name in truth if found.get(name) != truth[name]}
    if wrong or len(found) != len(truth):
        raise WrongError(f"{len(wrong)} lags are wrong, {sorted(wrong)[:3]} among them")


def lags(scrape: Scrape) -> dict[str, float]:
    return {
        dict(labels)["destination"]: lag for labels, lag in scrape.find("mq_lag_messages").items()
    }


def beam(rabbit: RabbitCluster) -> int:
    return rabbit._children[0].pid


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", choices=("rabbitmq", "nsq"))
    options = parser.parse_args()
    missed = []
    systems: dict[str, Any] = {"RabbitMQ": rabbitmq, "NSQ": nsq}
    for system, measure in systems.items():
        if options.system not in (None, system.lower()):
            continue
        print(f"\n{system}\n")
        print("| | time | exporter's CPU | broker's CPU | size |\n|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(Path(folder)):
                print(
                    f"| {row.what} | {ms(row.seconds)} | {ms(row.exporter)} | {ms(row.broker)} "
                    f"| {mb(row.size)} |",
                    flush=True,
                )
                if row.exporter is not None and row.exporter > TARGETS[system]:
                    missed.append(f"{system}: {row.what}: {row.exporter:.3f} s of CPU")
    for each in missed:
        print(f"target missed: {each}")
    return 0


def ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def mb(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.2f} MB"


if __name__ == "__main__":
    sys.exit(main())
