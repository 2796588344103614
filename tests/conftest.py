"""Fixtures of real brokers. A missing tool fails the tests that need it; nothing is skipped."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
from xdist.scheduler import LoadScopeScheduling

from testbed.kafka import Kafka, KafkaCluster
from testbed.nsq import NsqCluster
from testbed.rabbit_data import delete_all_queues
from testbed.rabbitmq import RabbitCluster
from tests.support.scheduling import FileScheduling, order_of

SLOW_RESOLVER = Path(__file__).parent / "support/slow_resolver.c"
UNBROKEN = {
    # A broker that was fenced for a moment on a busy machine leads its partitions again soon.
    "leader.imbalance.check.interval.seconds": "10",
    # No broker is killed, so checkpoints may be old. They are a tenth of the cost of an idle broker.
    "log.flush.start.offset.checkpoint.interval.ms": "10000",
    "log.flush.offset.checkpoint.interval.ms": "10000",
    "replica.high.watermark.checkpoint.interval.ms": "10000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "2000",
}
"""Settings of brokers that all tests share."""

# A busy machine is not a fault, so examples have no deadline. A failure prints how to repeat it.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")

# Otherwise each request reads all variables to find a proxy, and a thread of a test fails if pytest
# changes its own variable at that moment.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

# Under nohup, this process and every process that it starts would ignore SIGHUP.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that share one process: they take the longest."""
    items.sort(key=lambda item: order_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """With `--dist loadscope`, let the tests of a file run in one process."""
    if config.getvalue("dist") != "loadscope":
        return None
    return FileScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report the CPU time of each test, and RabbitMQ's counters if it failed."""
    report = yield
    if report.when == "teardown":
        report.user_properties.append(("cpu_seconds", _cpu_since_last_test()))
    cluster = getattr(item, "funcargs", {}).get("rabbitmq")
    if report.failed and report.when == "call" and isinstance(cluster, RabbitCluster):
        try:
            rows = cluster.api("GET", "queues?columns=name,messages,consumers,message_stats")
            text = "\n".join(map(str, rows))
        except requests.RequestException as error:
            text = repr(error)
        report.sections.append(("RabbitMQ's queues", text))
    return report


_cpu_before = 0.0


def _cpu_since_last_test() -> str:
    """Return CPU seconds of this process and of its children that ended since the last test.

    Brokers count when they end, so a shared broker counts for the last test.
    """
    global _cpu_before
    usage = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    now = sum(each.ru_utime + each.ru_stime for each in usage)
    spent, _cpu_before = now - _cpu_before, now
    return f"{spent:.2f}"


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[KafkaCluster]:
    """Three brokers with all listeners, shared by all tests: for tests that break nothing."""
    with KafkaCluster(settings=UNBROKEN) as cluster:
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
    """Two nsqds and two nsqlookupds for one test alone; they start within moments."""
    with NsqCluster(nsqds=2, lookupds=2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def slow_resolver(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Variables for a process in which each lookup of `*.invalid` takes 20 seconds."""
    library = tmp_path_factory.mktemp("resolver") / "slow_resolver.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SLOW_RESOLVER, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}
