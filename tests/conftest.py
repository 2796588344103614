"""Fixtures of real brokers. A missing tool fails the tests that need it; nothing is skipped."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import hypothesis
import pytest

from testbed.kafka import Kafka, KafkaCluster
from testbed.nsq import NsqCluster
from testbed.rabbit_data import delete_all_queues
from testbed.rabbitmq import RabbitCluster

# A busy machine is no fault, so no example has a deadline. A failure prints how to repeat it.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")

# A run under nohup ignores SIGHUP, and every process that it starts would, too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


TIMED = frozenset(
    f"test_{name}"
    for name in (
        "alert_scenarios",
        "alerting",
        "dashboards",
        "hardship",
        "kafka_latency",
        "kafka_time_scale",
        "load",
        "page",
        "queue_ages",
        "stack",
    )
)
"""Files whose alerts, ages and rates need the machine: no two of them run at the same time."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell pytest-xdist which tests run in one process: those of a file, and those of the timed files."""
    for item in items:
        group = "timed" if item.path.stem in TIMED else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[KafkaCluster]:
    """Three brokers with all listeners, shared by all tests: for tests that break nothing."""
    # A broker that was fenced for a moment on a busy machine leads again before a test misses it.
    with KafkaCluster(settings={"leader.imbalance.check.interval.seconds": "10"}) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Kafka:
    """The cluster of MQ_TEST_KAFKA, else the local one: for tests that need an address only."""
    external = KafkaCluster.from_environment()
    if external is not None:
        return external
    cluster: KafkaCluster = request.getfixturevalue("local_kafka")
    return cluster


@pytest.fixture
def own_kafka() -> Iterator[KafkaCluster]:
    """Three brokers for one test alone, which may kill, pause and restart them."""
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def rabbit_node() -> Iterator[RabbitCluster]:
    """One node with all listeners and quick statistics, shared by all tests."""
    with RabbitCluster(quick_statistics=True, tls=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def rabbitmq(rabbit_node: RabbitCluster) -> Iterator[RabbitCluster]:
    """The shared node, without the queues of other files: for tests that break nothing."""
    yield rabbit_node
    delete_all_queues(rabbit_node)


@pytest.fixture
def nsq() -> Iterator[NsqCluster]:
    """Two nsqds and two nsqlookupds for one test alone; they start in no time."""
    with NsqCluster(nsqds=2, lookupds=2) as cluster:
        yield cluster
