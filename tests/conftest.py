"""Fixtures of real brokers. A missing tool fails the tests that need it; nothing is skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kafka import Kafka, KafkaCluster


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[KafkaCluster]:
    """Three brokers with all listeners, shared by all tests: for tests that break nothing."""
    with KafkaCluster() as cluster:
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
