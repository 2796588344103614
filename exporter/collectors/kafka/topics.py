"""Which topics exist: from the metadata of each cycle, and, more seldom, their ids and configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import ClusterMetadata, ConfigResource

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import GONE, describe, kafka_error, problem, reason_of
from exporter.model import Deadline, Problem, Retention

OFFSETS_TOPIC = "__consumer_offsets"
NO_LEADER, NO_LISTENER = -1, -2
"""What stands for a leader where there is none, and where there is one that clients of this listener cannot know."""
LEADERLESS: Mapping[int, str] = {
    NO_LEADER: "the partition has no leader",
    NO_LISTENER: "the leader has no listener that matches the one the exporter connects to; "
    "see listeners and advertised.listeners of the brokers, which must all have the same names",
}
"""Why a partition cannot be asked for, by what stands for its leader."""
_LISTENER_NOT_FOUND = 72
"""The protocol's code, for which the library has no name."""
NO_TOPIC = "no topics are visible; give the user Describe on the topics"
BATCH = 500
"""Topics a request."""
BELIEVED_AFTER = 60.0
"""Seconds for which a cluster lists no topic before that is taken as true."""
POLICY_KEPT = 600.0
"""Seconds for which a topic's configuration is taken as known."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Topics and brokers at one moment."""

    leaders: Mapping[str, tuple[int, ...]]
    """Topic to the leader of each partition, negative where it has none (`NO_LEADER`, `NO_LISTENER`)."""
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
            if topic.error.code() in GONE:
                continue
            complete = False
            problems.append(Problem(reason_of(topic.error), f"topic {name}", describe(topic.error)))
            continue
        count = max(topic.partitions, default=-1) + 1
        row = [-1] * count
        for number, partition in topic.partitions.items():
            row[number] = _leader(partition)
        leaders[name] = tuple(row)
    nodes = {broker.id: f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()}
    return Topology(leaders, nodes, complete, tuple(problems))


def _leader(partition: Any) -> int:
    leader: int = partition.leader
    if leader >= 0:
        return leader
    error = partition.error
    unlisted = error is not None and error.code() == _LISTENER_NOT_FOUND
    return NO_LISTENER if unlisted else NO_LEADER


def listing_problem(metadata: ClusterMetadata) -> Problem | None:
    """Say so where the brokers cannot list all groups: those of a partition without a leader are left out without an error.

    That is so for a while after all brokers were down. None also where the offsets' topic cannot be seen: then it has to be
    asked otherwise (`sees_offsets_topic`).
    """
    offsets = metadata.topics.get(OFFSETS_TOPIC)
    missing = {_leader(each) for each in offsets.partitions.values()} if offsets else set()
    why = LEADERLESS.get(min(missing, default=0))
    if why is None:
        return None
    message = f"some groups are not listed; of partitions of {OFFSETS_TOPIC}: {why}"
    return Problem("unreachable", "list of groups", message)


def sees_offsets_topic(metadata: ClusterMetadata) -> bool:
    """Whether the state of the offsets' topic tells if a listing of groups is complete."""
    return OFFSETS_TOPIC in metadata.topics


def coordinators(metadata: ClusterMetadata) -> dict[int, int]:
    """Return the broker that coordinates the groups of each partition of the offsets' topic; -1 is none.

    Empty where the user may not see the topic.
    """
    topic = metadata.topics.get(OFFSETS_TOPIC)
    return {} if topic is None else {p.id: p.leader for p in topic.partitions.values()}


class Vacancy:
    """Decides when to believe a cluster that lists no topic, after it had some.

    A broker that has just started knows of none yet, and of no error; but the last topic may have been deleted, too.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def problem(
        self, metadata: ClusterMetadata, known: Collection[str], now: float
    ) -> Problem | None:
        """Return why the listing of topics is not complete; `known` are the topics of the last complete one."""
        if metadata.topics or not known:
            self._since = None
            return None
        if self._since is None:
            self._since = now
        if now - self._since >= BELIEVED_AFTER:
            return None
        return Problem("unreachable", "topics", "the broker does not list any topics yet")


def topic_rights(
    client: KafkaClient, metadata: ClusterMetadata, deadline: Deadline
) -> tuple[Problem, ...]:
    """Say so where no topic is listed for lack of rights; a broker lists what may be seen, and calls that all.

    Asked for a name, it tells: to who may not see the topic it refuses it, whether it exists or not.
    """
    if metadata.topics:
        return ()
    futures = client.admin.describe_topics(
        TopicCollection([OFFSETS_TOPIC]), request_timeout=client.seconds(deadline)
    )
    try:
        client.wait(futures[OFFSETS_TOPIC], deadline.remaining())
    except KafkaException as error:
        inner = kafka_error(error)
        if inner is not None and inner.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return (Problem("unauthorized", "topics", NO_TOPIC),)
    return ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a topic's configuration says of what the exporter has to know; None is a right not given."""

    compacted: bool = False
    retention: Retention | None = None


class TopicFacts:
    """What is learnt of topics now and then: their ids, and what their configuration says."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client
        self._ids: dict[str, str] = {}
        self._former: dict[str, str] = {}
        """Ids of topics that were not listed the last time: they may be back by the next."""
        self._policies: dict[str, tuple[float, Policy]] = {}
        self._recreated: set[str] = set()

    def known(self, name: str) -> bool:
        """Whether the topic's id has been read."""
        return name in self._ids

    def compacted(self) -> frozenset[str]:
        """Topics whose clean-up policy includes compaction."""
        return frozenset(
            name for name, (_, found) in list(self._policies.items()) if found.compacted
        )

    def retention(self) -> dict[str, Retention]:
        """When topics' records are deleted, where that is known."""
        return {
            name: found.retention
            for name, (_, found) in list(self._policies.items())
            if found.retention is not None
        }

    def take_recreated(self) -> frozenset[str]:
        """Return the topics that were found to have another id than before, once."""
        taken = frozenset(self._recreated)
        self._recreated -= taken
        return taken

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop what is known of topics that are not listed, but for the ids of which `forget` is not told yet."""
        for name in [name for name in list(self._policies) if name not in names]:
            self._policies.pop(name, None)
        for name in [name for name in list(self._ids) if name not in names]:
            self._former[name] = self._ids.pop(name)

    def forget(self, names: Iterable[str]) -> None:
        """Drop all that is known of topics that are gone: what comes back is a new one."""
        tables: tuple[dict[str, Any], ...] = (self._ids, self._former, self._policies)
        for name in names:
            for table in tables:
                table.pop(name, None)

    def read_ids(self, names: Iterable[str], deadline: Deadline) -> list[Problem]:
        """Read the topics' ids, and note which of them changed."""
        problems = []
        for batch in _batches(names):
            timeout = self._client.seconds(deadline)
            for name, future in self._client.ask(
                batch,
                lambda names: self._client.admin.describe_topics(
                    TopicCollection(names),
                    request_timeout=timeout,  # noqa: B023 - called at once
                ),
            ):
                try:
                    topic = self._client.wait(future, deadline.remaining())
                except KafkaException as error:
                    missing = _unless_gone(f"topic {name}", error)
                    if missing is not None:
                        problems.append(missing)
                    continue
                former = self._former.pop(name, None)
                before = self._ids.get(name, former)
                self._ids[name] = now = str(topic.topic_id)
                if before is not None and before != now:
                    self._recreated.add(name)
                    self._policies.pop(name, None)
        return problems

    def read_policies(self, names: Iterable[str], now: float, deadline: Deadline) -> list[Problem]:
        """Read the configuration of topics for which it is not known, or not lately."""
        due = [
            name
            for name in names
            if name not in self._policies or now - self._policies[name][0] > POLICY_KEPT
        ]
        problems = []
        for batch in _batches(due):
            timeout = self._client.seconds(deadline)
            for name, future in self._client.ask(
                batch,
                lambda names: self._client.admin.describe_configs(
                    [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names],
                    request_timeout=timeout,  # noqa: B023 - called at once
                ),
            ):
                try:
                    policy = self._client.read(future, deadline.remaining(), _policy)
                except KafkaException as error:
                    missing = _unless_gone(f"configuration of topic {name}", error)
                    if missing is not None and missing.reason == "unauthorized":
                        # A right not given is a feature that is not there, not a failure of each cycle.
                        self._policies[name] = (now, Policy())
                    elif missing is not None:
                        problems.append(missing)
                    continue
                self._policies[name] = (now, policy)
        return problems


def _policy(config: Mapping[str, Any]) -> Policy:
    """Take what matters from a topic's configuration (Kafka's documentation, 3.2 Topic Configs)."""

    def value(key: str) -> str:
        entry = config.get(key)
        return "" if entry is None or entry.value is None else str(entry.value)

    clean_up = value("cleanup.policy").split(",")
    return Policy(
        compacted="compact" in clean_up,
        retention=_retention(clean_up, value("retention.ms"), value("retention.bytes")),
    )


def _retention(clean_up: list[str], milliseconds: str, size: str) -> Retention | None:
    if "delete" not in clean_up:
        return Retention(None, None)
    try:
        time, room = int(milliseconds), int(size)
    except ValueError:
        return None
    return Retention(time / 1000 if time >= 0 else None, room if room >= 0 else None)


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
