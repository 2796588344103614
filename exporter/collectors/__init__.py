"""One folder a system. A new system is an entry in `COLLECTORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from exporter.collectors.isolated import IsolatedCollector
from exporter.collectors.kafka.settings import FOLLOWS, TASKS, KafkaSettings
from exporter.collectors.wire import Setup
from exporter.model import Collector
from exporter.names import NameMatcher

if TYPE_CHECKING:
    # The processes of collectors import this package, and not the config's library.
    from exporter.config import KafkaSource

LogFormat = Literal["json", "console"]


def kafka_settings(config: KafkaSource) -> KafkaSettings:
    """Return what the collector is told of the source."""
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
        consumers_interval=config.schedule.consumers,
        latency_interval=config.schedule.latency,
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


def _kafka(config: KafkaSource, log_format: LogFormat, log_level: str) -> Collector:
    setup = Setup("kafka", kafka_settings(config), log_format, log_level)
    return IsolatedCollector(setup, TASKS, FOLLOWS)


COLLECTORS: Mapping[str, Callable[[KafkaSource, LogFormat, str], Collector]] = {"kafka": _kafka}
