"""Settings of a RabbitMQ collector: plain data, so its process needs no config library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from exporter.collectors.access import Login, Tls
from exporter.collectors.settings import Settings
from exporter.name_filter import EVERYTHING, NameMatcher


@dataclass(frozen=True)
class RabbitSettings(Settings):
    """One cluster, and what to read from it."""

    TASKS = ("backlog", "discovery", "rates", "latency", "probe")
    FOLLOWS: ClassVar[Mapping[str, str]] = {"latency": "backlog"}
    EARLY_AFTER: ClassVar[Mapping[str, float]] = {"backlog": 0.5, "latency": 0.5}

    management: tuple[str, ...]
    """URLs of the management API; any of them will do."""
    prometheus: tuple[str, ...] = ()
    """URLs of the Prometheus plugin of every node."""
    amqp: tuple[str, ...] = ()
    """URLs of the nodes to probe."""
    tls: Tls = field(default_factory=Tls)
    login: Login = field(default_factory=Login)
    vhosts: NameMatcher = EVERYTHING
    destinations: NameMatcher = EVERYTHING
    internals: bool = False
    probe: bool = True
    probe_queue: str = "mq-lag-exporter-probe"
    probe_vhost: str = "/"
    probe_deadline: float = 5.0
    """Seconds after which a probe is lost."""
    probe_interval: float = 5.0

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks to run."""
        return self.TASKS if self.probe else self.TASKS[:-1]
