"""What a Kafka source can serve with the rights that it has: each feature is tried once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, OffsetSpec

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import describe, kafka_error
from exporter.collectors.kafka.groups import read_listing
from exporter.collectors.kafka.other_findings import other_findings
from exporter.collectors.kafka.probe.layout import read_layout
from exporter.collectors.kafka.probe.topic import probe_findings
from exporter.collectors.kafka.reader import READER
from exporter.collectors.kafka.selection import Selection
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import Topology, read_topology
from exporter.model import CollectError, Deadline, Finding


def check_source(
    client: KafkaClient, settings: KafkaSettings, deadline: Deadline
) -> Sequence[Finding]:
    """Return a finding a feature; only the first where no broker can be reached."""
    selection = Selection(settings)
    try:
        metadata = client.metadata(deadline, deadline.remaining() / 2)
    except CollectError as error:
        return [Finding("connection", ok=False, detail=str(error), required=True)]
    topology = read_topology(metadata, selection.topics)
    hidden = len(metadata.topics) - len(topology.leaders)
    detail = f"{len(topology.nodes)} brokers, {len(topology.leaders)} topics ({hidden} left out)"
    findings = [Finding("connection", ok=True, detail=detail, required=True)]
    if not topology.leaders:
        findings.append(
            Finding(
                "topics",
                ok=False,
                detail="no topic can be seen; give the user Describe on the topics, "
                "and check destinations.include and exclude",
                required=True,
            )
        )
    groups, finding = _groups(client, settings, selection, deadline)
    findings.append(finding)
    probe = _Probe(client, topology, groups, deadline)
    findings += [
        probe.tried("positions (lag)", probe.positions, "give the user Describe on the groups"),
        probe.tried("log ends (lag)", probe.ends, "give the user Describe on the topics"),
        probe.tried("consumers", probe.members, "give the user Describe on the groups"),
        probe.tried("recreated topics", probe.ids, "give the user Describe on the topics"),
        probe.tried(
            "compacted topics", probe.policy, "give the user DescribeConfigs on the topics"
        ),
        probe.tried("ages", probe.lookup, "give the user Describe on the topics"),
        probe.tried(
            "exact ages, bounds, transaction markers",
            probe.read,
            "give the user Read on the topics; without it, ages come from lookups by timestamp only",
        ),
        *other_findings(client, settings, selection.group, list(topology.nodes.values()), deadline),
        *probe_findings(client, settings, read_layout(metadata, settings.probe_topic), deadline),
    ]
    return findings


def _groups(
    client: KafkaClient, settings: KafkaSettings, selection: Selection, deadline: Deadline
) -> tuple[list[str], Finding]:
    if settings.group_names is not None:
        return _named_groups(client, settings.group_names, deadline)
    timeout = deadline.remaining()
    try:
        result = client.wait(client.admin.list_consumer_groups(request_timeout=timeout), timeout)
    except KafkaException as error:
        return [], Finding("groups", ok=False, detail=str(client.fault(error)), required=True)
    listing = read_listing(result, selection.group)
    if listing.problems:
        first = listing.problems[0]
        return list(listing.states), Finding(
            "groups", ok=False, detail=f"{first.subject}: {first.message}", required=True
        )
    if not listing.states:
        detail = (
            "no group can be seen; if there are some, give the user Describe on the groups (or on the cluster), "
            "or name them under groups.names, and check groups.include and exclude"
        )
        return [], Finding("groups", ok=False, detail=detail)
    return list(listing.states), Finding(
        "groups", ok=True, detail=f"{len(listing.states)} groups", required=True
    )


def _named_groups(
    client: KafkaClient, names: Sequence[str], deadline: Deadline
) -> tuple[list[str], Finding]:
    timeout = deadline.remaining()
    allowed, refused = [], []
    for name in names:
        request = [ConsumerGroupTopicPartitions(name)]
        future = client.admin.list_consumer_group_offsets(request, request_timeout=timeout)[name]
        try:
            client.wait(future, timeout)
        except KafkaException as error:
            fault = client.fault(error)
            if fault.reason == "unauthorized":
                refused.append(f"group {name}: {fault}")
                continue
        allowed.append(name)
    if refused:
        return allowed, Finding("groups", ok=False, detail=refused[0], required=True)
    detail = f"{len(allowed)} groups by name"
    return allowed, Finding("groups", ok=True, detail=detail, required=True)


class _Probe:
    """Tries features on the first topic and group at hand."""

    def __init__(
        self, client: KafkaClient, topology: Topology, groups: Sequence[str], deadline: Deadline
    ) -> None:
        self._client = client
        self._deadline = deadline
        self._group = next(iter(groups), None)
        self._partition = next(
            (
                TopicPartition(topic, partition)
                for topic, leaders in topology.leaders.items()
                for partition, leader in enumerate(leaders)
                if leader >= 0
            ),
            None,
        )

    def tried(self, feature: str, attempt: Callable[[], str | None], advice: str) -> Finding:
        """Run the attempt, which returns what was seen, or None where there is nothing to try it on."""
        required = feature.endswith("(lag)")
        try:
            seen = attempt()
        except KafkaException as error:
            inner = kafka_error(error)
            text = describe(inner, advice) if inner is not None else f"{error}; {advice}"
            return Finding(feature, ok=False, detail=text, required=required)
        return Finding(feature, ok=True, detail=seen or "nothing there to try it on")

    def positions(self) -> str | None:
        if self._group is None:
            return None
        request = [ConsumerGroupTopicPartitions(self._group)]
        timeout = self._deadline.remaining()
        futures = self._client.admin.list_consumer_group_offsets(request, request_timeout=timeout)
        found = self._client.wait(futures[self._group], timeout).topic_partitions
        return f"group {self._group} has offsets on {len(found)} partitions"

    def ends(self) -> str | None:
        partition = self._partition
        if partition is None:
            return None
        info = self._one(
            lambda t: self._client.admin.list_offsets(
                {partition: OffsetSpec.latest()}, request_timeout=t
            )
        )
        return f"{partition.topic}/{partition.partition} ends at {info.offset}"

    def lookup(self) -> str | None:
        partition = self._partition
        if partition is None:
            return None
        self._one(
            lambda t: self._client.admin.list_offsets(
                {partition: OffsetSpec.for_timestamp(0)}, request_timeout=t
            )
        )
        return "offsets can be looked up by timestamp"

    def members(self) -> str | None:
        group = self._group
        if group is None:
            return None
        info = self._one(
            lambda t: self._client.admin.describe_consumer_groups([group], request_timeout=t)
        )
        return f"group {group} has {len(info.members)} members"

    def ids(self) -> str | None:
        if self._partition is None:
            return None
        names = TopicCollection([self._partition.topic])
        self._one(lambda t: self._client.admin.describe_topics(names, request_timeout=t))
        return "topics made anew are told by their ids"

    def policy(self) -> str | None:
        if self._partition is None:
            return None
        resource = ConfigResource(ConfigResource.Type.TOPIC, self._partition.topic)
        self._one(lambda t: self._client.admin.describe_configs([resource], request_timeout=t))
        return "clean-up policies can be read"

    def read(self) -> str | None:
        if self._partition is None:
            return None
        consumer = Consumer({**self._client.properties(), **READER})
        try:
            consumer.assign(
                [TopicPartition(self._partition.topic, self._partition.partition, OFFSET_END)]
            )
            until = time.monotonic() + self._deadline.remaining()
            while time.monotonic() < until:
                message = consumer.poll(0.1)
                if message is None or message.topic() is None:
                    continue
                error = message.error()
                if error is not None and not _is_end(error):
                    raise KafkaException(error)
                return "records can be read, so ages are exact or have a bound, and markers are not counted as lag"
        finally:
            consumer.close()
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def _one(self, call: Callable[[float], Any]) -> Any:
        timeout = self._deadline.remaining()
        (future,) = call(timeout).values()
        return self._client.wait(future, timeout)


def _is_end(error: Any) -> bool:
    return bool(error.code() == error._PARTITION_EOF)
