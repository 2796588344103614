"""Which topics exist: from the metadata of each cycle, and, more seldom, their ids and clean-up policies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import ClusterMetadata, ConfigResource

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import GONE, describe, kafka_error, problem, reason_of
from exporter.model import Deadline, Problem

OFFSETS_TOPIC = "__consumer_offsets"
NO_TOPIC = "no topic can be seen; give the user Describe on the topics"
BATCH = 500
"""Topics a request."""
POLICY_KEPT = 600.0
"""Seconds for which a topic's clean-up policy is taken as known."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Topics and brokers at one moment."""

    leaders: Mapping[str, tuple[int, ...]]
    """Topic to the leader of each partition, -1 where it has none."""
    nodes: Mapping[int, str]
    """Broker id to host:port."""
    complete: bool
    """Whether a topic's absence means that it does not exist (or may not be seen)."""
    problems: tuple[Problem, ...] = ()


def read_topology(metadata: ClusterMetadata, allowed: Mapping[str, bool]) -> Topology:
    """Take from the cluster's metadata the topics for which `allowed` holds."""
    leaders: dict[str, tuple[int, ...]] = {}
    problems: list[Problem] = []
    complete = True
    for name, topic in metadata.topics.items():
        if not allowed[name]:
            continue
        if topic.error is not None:
            complete = False
            problems.append(Problem(reason_of(topic.error), f"topic {name}", describe(topic.error)))
            continue
        count = max(topic.partitions, default=-1) + 1
        row = [-1] * count
        for number, partition in topic.partitions.items():
            row[number] = partition.leader
        leaders[name] = tuple(row)
    nodes = {broker.id: f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()}
    return Topology(leaders, nodes, complete, tuple(problems))


def topic_rights(
    client: KafkaClient, metadata: ClusterMetadata, deadline: Deadline
) -> tuple[Problem, ...]:
    """Say so where no topic is listed for lack of rights; a broker lists what may be seen, and calls that all.

    Asked for a name, it tells: to who may not see the topic it refuses it, whether it exists or not.
    """
    if metadata.topics:
        return ()
    futures = client.admin.describe_topics(
        TopicCollection([OFFSETS_TOPIC]), request_timeout=max(deadline.remaining(), 0.1)
    )
    try:
        client.wait(futures[OFFSETS_TOPIC], deadline.remaining())
    except KafkaException as error:
        inner = kafka_error(error)
        if inner is not None and inner.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return (Problem("unauthorized", "topics", NO_TOPIC),)
    return ()


class TopicFacts:
    """What is learnt of topics now and then: their ids, and whether they are compacted."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client
        self._ids: dict[str, str] = {}
        self._policies: dict[str, tuple[float, bool]] = {}
        self._recreated: set[str] = set()

    def known(self, name: str) -> bool:
        """Whether the topic's id has been read."""
        return name in self._ids

    def compacted(self) -> frozenset[str]:
        """Topics whose clean-up policy includes compaction."""
        return frozenset(name for name, (_, compacted) in list(self._policies.items()) if compacted)

    def take_recreated(self) -> frozenset[str]:
        """Return the topics that were found to have another id than before, once."""
        taken = frozenset(self._recreated)
        self._recreated -= taken
        return taken

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop what is known of topics that are gone."""
        tables: tuple[dict[str, Any], ...] = (self._ids, self._policies)
        for table in tables:
            for name in [name for name in list(table) if name not in names]:
                table.pop(name, None)

    def read_ids(self, names: Iterable[str], deadline: Deadline) -> list[Problem]:
        """Read the topics' ids, and note which of them changed."""
        problems = []
        for batch in _batches(names):
            timeout = max(deadline.remaining(), 0.1)
            futures = self._client.admin.describe_topics(
                TopicCollection(batch), request_timeout=timeout
            )
            for name, future in futures.items():
                try:
                    topic = self._client.wait(future, timeout)
                except KafkaException as error:
                    missing = _unless_gone(f"topic {name}", error)
                    if missing is not None:
                        problems.append(missing)
                    continue
                before = self._ids.get(name)
                self._ids[name] = now = str(topic.topic_id)
                if before is not None and before != now:
                    self._recreated.add(name)
                    self._policies.pop(name, None)
        return problems

    def read_policies(self, names: Iterable[str], now: float, deadline: Deadline) -> list[Problem]:
        """Read the clean-up policies of topics for which they are not known, or not lately."""
        due = [
            name
            for name in names
            if name not in self._policies or now - self._policies[name][0] > POLICY_KEPT
        ]
        problems = []
        for batch in _batches(due):
            timeout = max(deadline.remaining(), 0.1)
            resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in batch]
            futures = self._client.admin.describe_configs(resources, request_timeout=timeout)
            for resource, future in futures.items():
                try:
                    config = self._client.wait(future, timeout)
                except KafkaException as error:
                    missing = _unless_gone(f"configuration of topic {resource.name}", error)
                    if missing is not None and missing.reason == "unauthorized":
                        # A right not given is a feature that is not there, not a failure of each cycle.
                        self._policies[resource.name] = (now, False)
                    elif missing is not None:
                        problems.append(missing)
                    continue
                policy = config["cleanup.policy"].value or ""
                self._policies[resource.name] = (now, "compact" in policy)
        return problems


def _unless_gone(subject: str, error: KafkaException) -> Problem | None:
    """Say what could not be read; None for a topic that is simply gone."""
    inner = kafka_error(error)
    return None if inner is not None and inner.code() in GONE else problem(subject, error)


def _batches(names: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    for name in names:
        batch.append(name)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
