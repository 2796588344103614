"""The probe topic: created if allowed, with a partition on every broker, or used as it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, NewPartitions, NewTopic

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import describe, describe_right, kafka_error, reason_of
from exporter.collectors.kafka.probe.layout import Layout, Partition, assignment, homeless, orphans
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import Deadline, Finding, Reason, Roster

CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "600000",
    "retention.bytes": "1048576",
    "segment.ms": "600000",
    "segment.bytes": "1048576",  # the minimum of Kafka 4
    "min.insync.replicas": "1",
}
"""Messages are deleted soon."""
SECONDS = 3.0
"""Timeout for creating the topic or partitions."""
PROPAGATION = 15.0
"""Seconds for which created partitions are known here although metadata may not show them yet."""
DENIED = 600.0
DENIED_IF_REQUIRED = 60.0
"""Seconds until a denied request is tried again; the second value if the config requires probes."""
FAILED = 10.0
"""Seconds until a request that failed otherwise is tried again."""
RIGHTS = {AclOperation.READ: "Read", AclOperation.WRITE: "Write"}


class ProbeObstacle(NamedTuple):
    """Why there are no probes, and what to do."""

    reason: Reason
    message: str


class ProbeTopic:
    """Creates the topic, and adds partitions so that each broker leads one."""

    def __init__(self, client: KafkaClient, settings: KafkaSettings) -> None:
        self._client = client
        self._name = settings.probe_topic
        self._denied = DENIED_IF_REQUIRED if settings.probe else DENIED
        self._log = structlog.get_logger(__name__).bind(source=settings.name, topic=self._name)
        self._made: tuple[Partition, ...] = ()
        self._made_at = 0.0
        self._next_try = 0.0
        self._next_extension = 0.0
        self._orphans: list[int] = []
        self.generation = 0
        """How often the topic was created."""
        self.obstacle: ProbeObstacle | None = None
        """Why there is no topic."""
        self.refusal: str | None = None
        """Why there are brokers without a partition."""

    def ensure(self, layout: Layout, deadline: Deadline) -> Layout:
        """Return the layout after creating missing partitions, if possible."""
        now = time.monotonic()
        seen = layout.partitions or ()
        if len(self._made) > len(seen) and now - self._made_at < PROPAGATION:
            layout = replace(layout, partitions=self._made)
        if layout.partitions is None:
            return self._make(layout, now, deadline)
        self.obstacle = None
        self._next_try = 0.0
        return self._extend(layout, now, deadline)

    def log_orphans(self, layout: Layout, roster: Roster | None) -> None:
        """Log once which partitions have replicas on removed brokers only.

        No client can use them, and Kafka does not move them.
        """
        found = orphans(layout, roster)
        if found and found != self._orphans:
            self._log.info(
                "probe.partitions_orphaned",
                partitions=found,
                advice=(
                    "move them to an existing broker (kafka-reassign-partitions), or delete the "
                    "topic; the exporter creates it again"
                ),
            )
        self._orphans = found

    def _make(self, layout: Layout, now: float, deadline: Deadline) -> Layout:
        if now < self._next_try or not layout.nodes:
            return layout
        error = self._wait(
            self._client.admin.create_topics(
                [new_topic(self._name, layout)], request_timeout=_seconds(deadline)
            ),
            deadline,
        )
        if error is None:
            self.obstacle = None
            self.generation += 1
            self._log.info("probe.topic_made", nodes=sorted(layout.nodes.values()))
            return self._keep(layout, [[broker] for broker in sorted(layout.nodes)], now)
        self._next_try = now + self._pause(error)
        self.obstacle = _creation_obstacle(self._name, error)
        return layout

    def _extend(self, layout: Layout, now: float, deadline: Deadline) -> Layout:
        brokers = homeless(layout)
        if not brokers:
            self.refusal, self._next_extension = None, 0.0
            return layout
        if now < self._next_extension:
            return layout
        before = layout.partitions or ()
        rows = assignment(layout, brokers)
        more = NewPartitions(self._name, len(before) + len(rows), replica_assignment=rows)
        error = self._wait(
            self._client.admin.create_partitions([more], request_timeout=_seconds(deadline)),
            deadline,
        )
        if error is None:
            self._log.info("probe.topic_extended", nodes=[layout.nodes[b] for b in brokers])
            return self._keep(layout, rows, now)
        self._next_extension = now + self._pause(error)
        self.refusal = describe_right(
            error,
            f"give the user Alter on the topic {self._name}, or add partitions that they lead",
        )
        return layout

    def _keep(self, layout: Layout, rows: Sequence[Sequence[int]], now: float) -> Layout:
        added = tuple(Partition(row[0], tuple(row)) for row in rows)
        self._made, self._made_at = (layout.partitions or ()) + added, now
        return replace(layout, partitions=self._made)

    def _pause(self, error: KafkaError) -> float:
        return self._denied if reason_of(error) == "unauthorized" else FAILED

    def _wait(self, futures: dict[str, Future[None]], deadline: Deadline) -> KafkaError | None:
        try:
            self._client.wait(futures[self._name], _seconds(deadline), grace=0.5)
        except KafkaException as error:
            inner = kafka_error(error) or KafkaError(KafkaError._FAIL)
            if reason_of(inner) != "invalid":
                # The next client connects again and reads the secrets again.
                self._client.drop()
            return inner
        return None


def new_topic(name: str, layout: Layout) -> NewTopic:
    """Return the topic to create: one partition on each broker, without replicas.

    A replica's broker would delay acknowledgements of another broker, and would become leader for a
    broker that hangs.
    """
    rows = [[broker] for broker in sorted(layout.nodes)]
    return NewTopic(name, num_partitions=len(rows), replica_assignment=rows, config=CONFIG)


def _seconds(deadline: Deadline) -> float:
    return max(min(SECONDS, deadline.remaining() / 2), 0.1)


def _creation_obstacle(name: str, error: KafkaError) -> ProbeObstacle | None:
    """Describe why creating the topic failed; None if it exists and will be visible soon."""
    if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return None
    advice = f"create the topic {name} so that each broker leads a partition"
    if reason_of(error) == "unauthorized":
        advice = f"give the user Create, Read and Write on the topic {name}"
    return ProbeObstacle(reason_of(error), describe(error, advice))


def probe_findings(
    client: KafkaClient, settings: KafkaSettings, layout: Layout, deadline: Deadline
) -> Sequence[Finding]:
    """Return the findings of `check` on probes. Nothing is sent, committed or created."""
    probe = _probe_finding(client, settings, layout, deadline)
    if settings.probe is False or not probe.ok:
        return [probe]
    return [probe, *_group_findings(client, settings, deadline)]


def _group_findings(
    client: KafkaClient, settings: KafkaSettings, deadline: Deadline
) -> Sequence[Finding]:
    """Return findings on the rights on the probes' groups.

    Nothing if the cluster does not tell them.
    """
    timeout = _seconds(deadline)
    group = f"{settings.probe_topic}-0"
    futures = client.admin.describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=timeout
    )
    try:
        operations = client.wait(futures[group], timeout).authorized_operations
    except KafkaException as error:
        if reason_of(kafka_error(error) or KafkaError(KafkaError._FAIL)) != "unauthorized":
            return ()
        operations = ()
    if operations is None:
        return ()
    names = f"the groups whose names begin with {settings.probe_topic}-"
    return [
        Finding(
            feature,
            ok=operation in operations,
            detail=good if operation in operations else f"give the user {right} on {names}",
        )
        for feature, operation, right, good in (
            ("probe's stage ack", AclOperation.READ, "Read", "commits can be timed"),
            (
                "probe's clean-up",
                AclOperation.DELETE,
                "Delete",
                "the probes' groups are deleted when the exporter stops",
            ),
        )
    ]


def _probe_finding(
    client: KafkaClient, settings: KafkaSettings, layout: Layout, deadline: Deadline
) -> Finding:
    name, required = settings.probe_topic, settings.probe is True
    if settings.probe is False:
        return Finding("probe", ok=True, detail="disabled by probe.enabled")
    if layout.partitions is None:
        missing, detail = _may_make(client, name, layout, deadline)
        return Finding("probe", not missing, missing or detail, required)
    missing = _missing_rights(client, name, deadline)
    if missing:
        return Finding("probe", ok=False, detail=missing, required=required)
    left_out = [layout.nodes[broker] for broker in homeless(layout)]
    detail = (
        f"topic {name} covers {len(layout.nodes) - len(left_out)} of {len(layout.nodes)} brokers"
    )
    if left_out:
        detail += f"; {', '.join(left_out)} cannot be probed unless the user has Alter on the topic"
    return Finding("probe", not (left_out and required), detail, required)


def _may_make(
    client: KafkaClient, name: str, layout: Layout, deadline: Deadline
) -> tuple[str, str]:
    """Return what keeps the topic from being created, empty if nothing does, and the good text."""
    timeout = _seconds(deadline)
    futures = client.admin.create_topics(
        [new_topic(name, layout)], validate_only=True, request_timeout=timeout
    )
    try:
        client.wait(futures[name], timeout)
    except KafkaException as error:
        inner = kafka_error(error) or KafkaError(KafkaError._FAIL)
        obstacle = _creation_obstacle(name, inner)
        if obstacle is not None:
            return obstacle.message, ""
        # The metadata did not show it: the user may not see it, or it was created meanwhile.
        if _is_visible(client, name, timeout):
            return "", f"topic {name} exists"
        return f"give the user Describe, Read and Write on the topic {name}", ""
    return (
        "",
        f"topic {name} can be created, with a partition on each of {len(layout.nodes)} brokers",
    )


def _is_visible(client: KafkaClient, name: str, timeout: float) -> bool:
    futures = client.admin.describe_topics(TopicCollection([name]), request_timeout=timeout)
    try:
        client.wait(futures[name], timeout)
    except KafkaException:
        return False
    return True


def _missing_rights(client: KafkaClient, name: str, deadline: Deadline) -> str:
    """Describe the missing rights or the error; empty if no right is missing."""
    timeout = _seconds(deadline)
    futures = client.admin.describe_topics(
        TopicCollection([name]), include_authorized_operations=True, request_timeout=timeout
    )
    try:
        operations = client.wait(futures[name], timeout).authorized_operations
    except KafkaException as error:
        return str(client.fault(error))
    if operations is None:
        return ""
    lacking = [word for operation, word in RIGHTS.items() if operation not in operations]
    return f"give the user {' and '.join(lacking)} on the topic {name}" if lacking else ""
