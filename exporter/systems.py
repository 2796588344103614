"""The supported systems: one row each.

A new system is a folder under `collectors`, a config model and a row here.

A row names modules and imports none of them. The process that reads a source imports only its own
system, and nothing else imports a system's libraries before a source needs them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from exporter.model import COMMON_WORDS, Words


@dataclass(frozen=True, slots=True)
class System:
    """The parts of a system, each as "module:name"."""

    config: str
    """The config model of its sources, a `config.shared.SourceConfig`."""
    settings: str
    """A function from a config to its collector's settings, a `collectors.settings.Settings`."""
    collector: str
    """A function from settings and `collectors.process.hazards.Hazards` to a `model.Collector`. It
    is called in the source's process.
    """
    destinations: Literal["logs", "queues"]
    """Logs keep messages and have positions; queues delete consumed messages."""
    workload: str | None = None
    """A function that makes the `load.clients.Workload` of a destination; None excludes the system
    from `load`.
    """
    words: Words = COMMON_WORDS
    """Its users' words for things."""


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
        words=Words(
            part="nsqd",
            parts="nsqd",
            paused_destination="the topic",
            paused_group="the channel or its topic",
        ),
    ),
}
"""Keyed by the `system` of a source in the config."""


def module_of(path: str) -> str:
    """Return the module of "module:name"."""
    return path.partition(":")[0]


def resolve(path: str) -> Any:
    """Import "module:name" and return the object."""
    return getattr(importlib.import_module(module_of(path)), path.partition(":")[2])


def with_workload() -> list[str]:
    """Return the systems that support `load`."""
    return [name for name, system in SYSTEMS.items() if system.workload]
