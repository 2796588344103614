"""The config as a whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from exporter.config.kafka import KafkaSource
from exporter.config.nsq import NsqSource
from exporter.config.rabbitmq import RabbitSource
from exporter.config.shared import LISTED, Collection, Model
from exporter.config.thresholds import ThresholdLines
from exporter.config.types import Hosts, Listen, Switch, fault, not_empty

SOURCES: dict[str, type[BaseModel]] = {
    "kafka": KafkaSource,
    "rabbitmq": RabbitSource,
    "nsq": NsqSource,
}
"""The config model of each system."""


class Log(Model):
    """Logging."""

    format: Literal["json", "console"] = "json"
    """json: one JSON object per line. console: for people."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""


def _of_a_known_system(value: Any) -> Any:
    """Refuse an unknown system first: otherwise each of its keys would be reported as unknown."""
    system = value.get("system") if isinstance(value, dict) else None
    if isinstance(system, str) and system not in SOURCES:
        supported = f"not supported by this version; supported: {', '.join(SOURCES)}"
        raise fault(supported, f"system {system!r} is {supported}")
    return value


Source = KafkaSource | RabbitSource | NsqSource
AnySource = Annotated[
    Annotated[Source, Field(discriminator="system")], BeforeValidator(_of_a_known_system)
]


class Config(Model):
    """The config file."""

    listen: Listen = "0.0.0.0:9877"
    """Address of the HTTP server, such as 0.0.0.0:9877 or :9877."""
    reload_endpoint: Switch = False
    """Whether POST /-/reload reloads the config."""
    allowed_hosts: Hosts = ()
    """Allowed values of the Host header, with or without a port. Empty allows any. Health checks are always allowed."""
    log: Log = Log()
    """Logging."""
    defaults: Collection = Collection()
    """Defaults for all sources."""
    thresholds: ThresholdLines = ()
    """Thresholds of subscriptions and probes. The first line that matches applies."""
    sources: Annotated[tuple[AnySource, ...], BeforeValidator(not_empty), LISTED]
    """The clusters to read."""
