"""Converts the config of a Kafka source into settings of its collector."""

from __future__ import annotations

from exporter.collectors.kafka.settings import KafkaSettings
from exporter.config.kafka import KafkaSource
from exporter.name_filter import NameMatcher


def kafka_settings(config: KafkaSource) -> KafkaSettings:
    """Return the settings of the source's collector."""
    return KafkaSettings(
        name=config.name,
        properties={**config.client, "bootstrap.servers": config.bootstrap_servers},
        property_files=config.client_files,
        destinations=config.destinations.matcher,
        groups=config.groups.matcher,
        group_names=config.groups.names,
        internals=config.internals,
        read_committed=config.isolation == "read_committed",
        read_committed_groups=NameMatcher(config.read_committed_groups),
        offsets=config.offsets,
        consumers_interval=config.schedule.consumers,
        method=config.timestamps.method,
        header=config.timestamps.header,
        tolerance_seconds=config.timestamps.tolerance.seconds,
        tolerance_ratio=config.timestamps.tolerance.ratio,
        latency_limit=config.latency.limit,
        latency_groups=NameMatcher(config.latency.groups),
        probe=config.probe.enabled,
        probe_topic=config.probe.destination,
        probe_deadline=config.probe.deadline,
    )
