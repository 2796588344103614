"""Which brokers belong to a cluster, by its metadata."""

from __future__ import annotations

from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import Roster


def read_roster(metadata: ClusterMetadata, probe_topic: str, at: float) -> Roster:
    """Return the brokers that are listed, and the ids of those that are down.

    Metadata lists only brokers that are up. One that is down still has replicas: their lists name it. One that was
    decommissioned has none, except for the probes' partition, which nobody moves. To a user who may not see every topic that
    proves nothing: whoever sees Kafka's topic of offsets is taken to see them all.
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
