"""Real consumers, started and stopped by `mq-lag-exporter scale`, under a load that changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from exporter.load.making import workload_of
from testbed.background import Background
from testbed.children import Child
from testbed.exporter import Exporter, kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import create_topic
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until
from testbed.workers import Pool, Work

EACH = 20.0
"""Messages a second of one consumer."""
HIGH, LOW = 70.0, 5.0
"""Messages a second that are produced: for four consumers, and for one."""
MAXIMUM = 4
"""Few processes, and a number that a consumer which is slow on a busy machine needs, too."""
MOST_ACTIONS = 3
"""Changes of the number of consumers after a step of the load."""
CALM_SECONDS = 15.0
"""It has settled if the number did not change for so long."""
PARTITIONS = 4
SCALING = {
    "minimum": 1,
    "maximum": MAXIMUM,
    "drain_time": "30s",
    "cooldown_out": "8s",
    "cooldown_in": "40s",
}
WRITE = "sh -c 'echo $1 >$2.new && mv $2.new $2' set {consumers}"


class Feeder(Background):
    """Produces at a rate that can be changed."""

    def __init__(self, work: Work, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._sender = workload_of(*work[:4]).sender()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(0.1):
            count = int((time.monotonic() - due) * self.rate)
            due += count / self.rate
            if count:
                assert self._sender.send([b"x" * 64] * count) == 0
        self._sender.close()


class Trial(NamedTuple):
    """One subscription, its consumers, and its load."""

    name: str
    pool: Pool
    feeder: Feeder

    def settled(self) -> bool:
        return time.monotonic() - self.pool.changes[-1][0] >= CALM_SECONDS


@pytest.fixture
def trials(
    local_kafka: KafkaCluster, rabbitmq: RabbitCluster, nsq: NsqCluster, tmp_path: Path
) -> Iterator[Sequence[Trial]]:
    name = f"scaling-{uuid4().hex[:8]}"
    address = {
        "kafka": local_kafka.bootstrap,
        "rabbitmq": rabbitmq.amqp_url(),
        "nsq": nsq.http_url(),
    }
    kinds: dict[str, tuple[str, dict[str, str]]] = {
        "eager": ("kafka", {"partition.assignment.strategy": "range"}),
        "cooperative": ("kafka", {"partition.assignment.strategy": "cooperative-sticky"}),
        "consumer": ("kafka", {"group.protocol": "consumer"}),
        "queue": ("rabbitmq", {}),
        "channel": ("nsq", {}),
    }
    for kind, (system, _) in kinds.items():
        if system == "kafka":
            create_topic(local_kafka.bootstrap, f"{name}-{kind}", PARTITIONS, 1)
        else:
            workload_of(system, address[system], f"{name}-{kind}", f"{name}-{kind}").prepare(1)
    chosen: dict[str, Any] = {
        "destinations": {"include": [f"{name}.*"]},
        "schedule": dict.fromkeys(("backlog", "latency", "rates"), "1s") | {"consumers": "2s"},
        "probe": {"enabled": False},
        "rate_window": "20s",
    }
    sources = [
        kafka_source(address["kafka"], "kafka", **chosen),
        rabbit_source(rabbitmq, "rabbitmq", **chosen),
        nsq_source(nsq, "nsq", **chosen),
    ]
    exporter = Exporter(tmp_path, sources)
    exporter.write(
        sources,
        scaling=[SCALING],
        scaling_state="state.json",
        thresholds=[{"lag_messages": 100}],
    )
    with ExitStack() as stack:
        stack.enter_context(exporter)
        made = []
        for kind, (system, settings) in kinds.items():
            names = (f"{name}-{kind}", f"{name}-{kind}")  # of the destination and the group
            work = Work(system, address[system], *names, EACH, settings)
            file = tmp_path / kind
            pool = stack.enter_context(Pool(work, file, 1))
            feeder = stack.enter_context(Feeder(work, HIGH))
            stack.callback(controller(exporter, system, work, file).kill)
            made.append(Trial(kind, pool, feeder))
        yield made


def controller(exporter: Exporter, source: str, work: Work, file: Path) -> Child:
    """Start `mq-lag-exporter scale`."""
    line = [sys.executable, "-m", "exporter", "scale", "--url", exporter.url]
    line += ["--source", source, "--destination", work.destination]
    line += ["--every", "1s", "--exec", f"{WRITE} {file}"]
    return Child(line, file.with_suffix(".log"), None)


def test_it_settles_in_few_actions_and_never_reverses(
    trials: Sequence[Trial],
) -> None:
    made = trials
    marks = {trial.name: len(trial.pool.changes) for trial in made}
    wait_until(
        lambda: all(trial.pool.count * EACH > HIGH and trial.settled() for trial in made),
        "enough consumers for the high load",
        240,
        0.5,
    )
    up = {trial.name: numbers(trial)[marks[trial.name] - 1 :] for trial in made}
    for trial in made:
        trial.feeder.rate = LOW
    before = {trial.name: len(trial.pool.changes) for trial in made}
    wait_until(
        lambda: all(trial.pool.count <= 2 and trial.settled() for trial in made),
        "few consumers for the low load",
        300,
        0.5,
    )
    down = {trial.name: numbers(trial)[before[trial.name] - 1 :] for trial in made}
    for counts in up.values():
        assert len(counts) - 1 <= MOST_ACTIONS, up
        assert all(old < new for old, new in pairwise(counts)), up
    for counts in down.values():
        assert len(counts) - 1 <= MOST_ACTIONS, down
        assert all(old > new for old, new in pairwise(counts)), down


def numbers(trial: Trial) -> list[int]:
    return [count for _, count in trial.pool.changes]
