"""The supported systems: one row each. A new system is a folder under `collectors`, a config model and a row here.

A row names modules and imports none of them: the process that reads a source imports its own system only, and
nothing else imports a system's libraries before a source needs them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class System:
    """Where the parts of a system are, each as "module:name"."""

    config: str
    """The config model of its sources, a `config.shared.SourceConfig`."""
    settings: str
    """A function from a config to the settings of its collector, a `collectors.settings.Settings`."""
    collector: str
    """A function from settings and `collectors.hazards.Hazards` to a `model.Collector`; called in a process of its own."""
    destinations: Literal["logs", "queues"]
    """Logs keep messages and count positions in them; queues let go of what is consumed."""
    workload: str | None = None
    """A function that makes the `load.clients.Workload` of a destination; None leaves the system out of `load`."""
    part: str = "partition"
    """What a part of a destination is called."""
    parts: str | None = None
    """What several of them are called; None adds an s."""
    paused_destination: str = "the destination"
    """What is paused, where that stops everybody who reads the destination."""
    paused_group: str = "the group, or its destination,"
    """The same where it stops one group, or all of them."""

    @property
    def collector_module(self) -> str:
        """The module of the collector, without the name in it."""
        return self.collector.partition(":")[0]


SYSTEMS: dict[str, System] = {
    "kafka": System(
        config="exporter.config.kafka:KafkaSource",
        settings="exporter.collectors.kafka.from_config:kafka_settings",
        collector="exporter.collectors.kafka.collector:kafka_collector",
        destinations="logs",
        workload="exporter.load.kafka:kafka_workload",
    ),
    "rabbitmq": System(
        config="exporter.config.rabbitmq:RabbitSource",
        settings="exporter.collectors.rabbitmq.from_config:rabbit_settings",
        collector="exporter.collectors.rabbitmq.collector:rabbit_collector",
        destinations="queues",
        workload="exporter.load.rabbitmq:rabbit_workload",
    ),
    "nsq": System(
        config="exporter.config.nsq:NsqSource",
        settings="exporter.collectors.nsq.from_config:nsq_settings",
        collector="exporter.collectors.nsq.collector:nsq_collector",
        destinations="queues",
        workload="exporter.load.nsq:nsq_workload",
        part="nsqd",
        parts="nsqd",
        paused_destination="the topic",
        paused_group="the channel or its topic",
    ),
}
"""By the `system` of a source in the config."""


def part(path: str) -> Any:
    """Import "module:name" and return what it names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
