"""The collector itself, in this process: what metrics do not show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from exporter.collectors.kafka import client
from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.from_config import kafka_settings
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.config import parse
from exporter.config.kafka import KafkaSource
from exporter.model import LogBacklog, Until
from testbed.kafka import Kafka
from testbed.kafka_data import commit_offsets, create_topic, delete_topic, produce

SECONDS = 60.0


def source(bootstrap: str, more: str = "") -> KafkaSettings:
    text = f"sources: [{{name: s, system: kafka, bootstrap_servers: '{bootstrap}'{more}}}]"
    (config,) = parse(text, "test", {}).sources
    assert isinstance(config, KafkaSource)
    return kafka_settings(config)


@pytest.fixture
def topic(kafka: Kafka) -> Iterator[str]:
    name = f"collector-{uuid4()}"
    create_topic(kafka.bootstrap, name, 1, 1)
    produce(kafka.bootstrap, name, 0, 10)
    commit_offsets(kafka.bootstrap, f"{name}-group", {(name, 0): 4})
    yield name
    delete_topic(kafka.bootstrap, name)


def backlog(collector: KafkaCollector) -> LogBacklog:
    look = collector.backlog(Until(SECONDS))
    assert list(look.problems) == []
    return look


def test_the_client_is_renewed_when_it_has_seen_many_names(
    kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = KafkaCollector(source(kafka.bootstrap))
    before = backlog(collector)
    first = collector._client.admin
    backlog(collector)
    assert collector._client.admin is first
    monkeypatch.setattr(client, "MAX_NAMES_SEEN", -(10**6))
    after = backlog(collector)
    assert collector._client.admin is not first
    assert after.positions[f"{topic}-group"] == before.positions[f"{topic}-group"]
    assert after.logs[topic] == before.logs[topic]
    collector.close()


def test_what_is_gone_is_forgotten(kafka: Kafka) -> None:
    collector = KafkaCollector(source(kafka.bootstrap))
    names = [f"shortlived-{uuid4()}" for _ in range(3)]
    for name in names:
        create_topic(kafka.bootstrap, name, 1, 1)
        produce(kafka.bootstrap, name, 0, 2)
        commit_offsets(kafka.bootstrap, f"{name}-group", {(name, 0): 1})
    for _ in range(2):
        collector.discovery(Until(SECONDS))
        backlog(collector)
    tails = collector._backlog.tails
    assert set(names) <= {tail[0] for tail in tails._known}
    assert all(map(collector._facts.known, names))
    for name in names:
        delete_topic(kafka.bootstrap, name)
    backlog(collector)
    collector.discovery(Until(SECONDS))
    assert not set(names) & {tail[0] for tail in tails._known}
    assert not set(names) & {topic for _, topic in tails._last_polls}
    assert not any(map(collector._facts.known, names))
    assert not set(names) & set(collector._backlog.ends)
    collector.close()


def test_groups_can_be_named_where_they_cannot_be_listed(kafka: Kafka, topic: str) -> None:
    group = f"{topic}-group"
    named = KafkaCollector(source(kafka.bootstrap, f", groups: {{names: ['{group}', nobody]}}"))
    look = backlog(named)
    assert look.positions[group].offsets == {topic: {0: 4}}
    assert look.positions["nobody"].offsets == {}
    assert look.states == {}
    assert not look.groups_complete
    named.close()


def test_only_what_is_wanted_is_read(kafka: Kafka, topic: str) -> None:
    filters = f", destinations: {{include: ['{topic}']}}, groups: {{exclude: ['{topic}-group']}}"

    def look(more: str) -> LogBacklog:
        with closing(KafkaCollector(source(kafka.bootstrap, more))) as collector:
            return backlog(collector)

    chosen = look(filters)
    assert set(chosen.logs) == {topic}
    assert f"{topic}-group" not in chosen.states
    assert "__consumer_offsets" in look(", internals: true").logs
    assert "__consumer_offsets" not in look("").logs
