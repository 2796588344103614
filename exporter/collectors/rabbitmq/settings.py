"""What a RabbitMQ collector is told: plain data, so that its process needs no library of the config file's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.collectors.access import Login, Tls
from exporter.names import EVERYTHING, NameMatcher

TASKS = ("backlog", "discovery", "rates", "latency", "probe")
"""In the order in which one run of each has most to go by."""
FOLLOWS: Mapping[str, str] = {"latency": "backlog"}

EARLY_AFTER: Mapping[str, float] = {"backlog": 0.5, "latency": 0.5}
"""Part of the interval after which what waits and its age should be read again, where that is cheap."""


@dataclass(frozen=True)
class RabbitSettings:
    """One cluster, and what of it is wanted."""

    name: str
    management: tuple[str, ...]
    """URLs of the management API; any of them serves."""
    prometheus: tuple[str, ...] = ()
    """URLs of the Prometheus plugin, of every node."""
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
        """Return the tasks that there are."""
        return TASKS if self.probe else TASKS[:-1]
