"""Existing topics: from the metadata in each cycle; ids and configuration are read less often."""

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
"""Leader ids for no leader, and for a leader without a listener that this client can use."""
LEADERLESS: Mapping[int, str] = {
    NO_LEADER: "the partition has no leader",
    NO_LISTENER: "the leader has no listener that matches the one the exporter connects to; "
    "see listeners and advertised.listeners of the brokers, which must all have the same names",
}
"""Why a partition cannot be read, by leader id."""
_LISTENER_NOT_FOUND = 72
"""Protocol error code for which the library has no name."""
NO_TOPIC = "no topics are visible; give the user Describe on the topics"
BATCH = 500
"""Topics per request."""
BELIEVED_AFTER = 60.0
"""Seconds for which a cluster lists no topics before that is believed."""
POLICY_KEPT = 600.0
"""Seconds for which a topic's configuration is cached."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Topics and brokers at one moment."""

    leaders: Mapping[str, tuple[int, ...]]
    """Topic to the leader of each partition.

    Negative if it has none (`NO_LEADER`, `NO_LISTENER`).
    """
    nodes: Mapping[int, str]
    """Broker id to host:port."""
    complete: bool
    """Whether a topic that is not listed does not exist (or may not be seen)."""
    problems: tuple[Problem, ...] = ()


def read_topology(metadata: ClusterMetadata, allowed: Mapping[str, bool]) -> Topology:
    """Extract the topics with `allowed[topic]` from the cluster's metadata."""
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
    """Return a problem if brokers cannot list all groups.

    Groups in a partition of `__consumer_offsets` without a leader are missing from the list without
    an error. This happens for a while after all brokers were down. If the topic is not visible, the
    result is None, and completeness must be tested in another way (`sees_offsets_topic`).
    """
    offsets = metadata.topics.get(OFFSETS_TOPIC)
    missing = {_leader(each) for each in offsets.partitions.values()} if offsets else set()
    why = LEADERLESS.get(min(missing, default=0))
    if why is None:
        return None
    message = f"some groups are not listed; of partitions of {OFFSETS_TOPIC}: {why}"
    return Problem("unreachable", "list of groups", message)


def sees_offsets_topic(metadata: ClusterMetadata) -> bool:
    """Return whether the offsets topic is visible, and so shows if a group list is complete."""
    return OFFSETS_TOPIC in metadata.topics


def coordinators(metadata: ClusterMetadata) -> dict[int, int]:
    """Return the coordinator broker of each partition of `__consumer_offsets`; -1 is none.

    Empty if the user may not see the topic.
    """
    topic = metadata.topics.get(OFFSETS_TOPIC)
    return {} if topic is None else {p.id: p.leader for p in topic.partitions.values()}


class EmptyClusterCheck:
    """Decides when to believe a cluster that lists no topics although it had some.

    A broker that has just started lists none, without an error. But the last topic may also have
    been deleted.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def problem(
        self, metadata: ClusterMetadata, known: Collection[str], now: float
    ) -> Problem | None:
        """Return why the topic list is incomplete.

        `known` are the topics of the last complete list.
        """
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
    """Return a problem if no topic is listed because of missing rights.

    A broker lists only what the user may see. If asked for a topic by name, it refuses users who
    may not see it, whether the topic exists or not.
    """
    if metadata.topics:
        return ()
    futures = client.admin.describe_topics(
        TopicCollection([OFFSETS_TOPIC]), request_timeout=client.request_seconds(deadline)
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
    """The relevant configuration of a topic; None if the user has no right to read it."""

    compacted: bool = False
    retention: Retention | None = None


class TopicFacts:
    """Facts on topics that are read from time to time: ids and configuration."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client
        self._ids: dict[str, str] = {}
        self._former: dict[str, str] = {}
        """Ids of topics that were missing from the last list: they may be back in the next one."""
        self._policies: dict[str, tuple[float, Policy]] = {}
        self._recreated: set[str] = set()

    def known(self, name: str) -> bool:
        """Return whether the topic's id has been read."""
        return name in self._ids

    def compacted(self) -> frozenset[str]:
        """Return topics with a cleanup policy that includes compaction."""
        return frozenset(
            name for name, (_, found) in list(self._policies.items()) if found.compacted
        )

    def retention(self) -> dict[str, Retention]:
        """Return the retention of topics, if known."""
        return {
            name: found.retention
            for name, (_, found) in list(self._policies.items())
            if found.retention is not None
        }

    def pop_recreated(self) -> frozenset[str]:
        """Return, and then forget, the topics whose id has changed."""
        changed = frozenset(self._recreated)
        self._recreated -= changed
        return changed

    def forget_all_but(self, names: Collection[str]) -> None:
        """Forget topics that are not listed, but keep their ids until `forget`."""
        for name in [name for name in list(self._policies) if name not in names]:
            self._policies.pop(name, None)
        for name in [name for name in list(self._ids) if name not in names]:
            self._former[name] = self._ids.pop(name)

    def forget(self, names: Iterable[str]) -> None:
        """Forget deleted topics: a topic with the same name is a new one."""
        tables: tuple[dict[str, Any], ...] = (self._ids, self._former, self._policies)
        for name in names:
            for table in tables:
                table.pop(name, None)

    def read_ids(self, names: Iterable[str], deadline: Deadline) -> list[Problem]:
        """Read the topics' ids, and note which of them changed."""
        problems = []
        for batch in _batches(names):
            timeout = self._client.request_seconds(deadline)
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
        """Read the configuration of topics if it is unknown or older than `POLICY_KEPT`."""
        due = [
            name
            for name in names
            if name not in self._policies or now - self._policies[name][0] > POLICY_KEPT
        ]
        problems = []
        for batch in _batches(due):
            timeout = self._client.request_seconds(deadline)
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
                        # A missing right disables a feature; it is not a failure in each cycle.
                        self._policies[name] = (now, Policy())
                    elif missing is not None:
                        problems.append(missing)
                    continue
                self._policies[name] = (now, policy)
        return problems


def _policy(config: Mapping[str, Any]) -> Policy:
    """Extract the relevant configuration (Kafka's documentation, 3.2 Topic Configs)."""

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
    """Return the problem; None if the topic no longer exists."""
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
