"""What a config may say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BeforeValidator, Field

from exporter.config.shared import LISTED, Collection, Model, SourceConfig
from exporter.config.thresholds import ThresholdLines
from exporter.config.types import Hosts, Listen, Switch, fault, not_empty
from exporter.systems import SYSTEMS, part

SOURCES: dict[str, type[SourceConfig]] = {
    name: part(system.config) for name, system in SYSTEMS.items()
}
"""By system: the model of its sources."""


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


if TYPE_CHECKING:
    AnySource = SourceConfig
else:
    AnySource = Annotated[
        Annotated[Union[tuple(SOURCES.values())], Field(discriminator="system")],  # noqa: UP007 - made of a table
        BeforeValidator(_of_a_known_system),
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
