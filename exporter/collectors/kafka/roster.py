"""Which brokers belong to a cluster, according to its metadata."""

from __future__ import annotations

from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import Roster


def read_roster(metadata: ClusterMetadata, probe_topic: str, at: float) -> Roster:
    """Return the listed brokers, and the ids of brokers that are down.

    Metadata lists only brokers that are up. A broker that is down still appears in replica lists. A
    decommissioned broker does not, except for the probes' partition, which is never moved. If the
    user may not see all topics, missing replicas prove nothing. Whoever sees `__consumer_offsets`
    is assumed to see all topics.
    """
    topics = metadata.topics
    listed = {broker.id: f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()}
    nodes = {name: str(broker) for broker, name in listed.items()}
    if OFFSETS_TOPIC not in topics or any(topic.error is not None for topic in topics.values()):
        return Roster(at, nodes, None)
    named: set[int] = set()
    for name, topic in topics.items():
        if name != probe_topic:
            for partition in topic.partitions.values():
                named.update(partition.replicas)
    return Roster(at, nodes, frozenset(str(broker) for broker in named - listed.keys()))
