"""What a config may say."""

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
"""Systems that a source can be of, and what it may say then."""


class Log(Model):
    """Logging."""

    format: Literal["json", "console"] = "json"
    """One JSON object a line, or for people."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""


def _of_a_known_system(value: Any) -> Any:
    """Refuse other systems before their keys are looked at, which would all be unknown."""
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
    """The whole file."""

    listen: Listen = "0.0.0.0:9877"
    """Where metrics are served."""
    reload_endpoint: Switch = False
    """Whether POST /-/reload reads the config again."""
    allowed_hosts: Hosts = ()
    """Values of the Host header that requests may have, with or without a port; empty allows any. Health checks need none."""
    log: Log = Log()
    """Logging."""
    defaults: Collection = Collection()
    """What holds for every source that does not say otherwise."""
    thresholds: ThresholdLines = ()
    """What subscriptions and probes are compared with: the first line that matches counts."""
    sources: Annotated[tuple[AnySource, ...], BeforeValidator(not_empty), LISTED]
    """The clusters to read."""
