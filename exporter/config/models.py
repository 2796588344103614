"""The config as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from exporter.config.access import beside_the_config
from exporter.config.keda import KedaConfig
from exporter.config.properties import SecretPath
from exporter.config.scaling import ScalingLines
from exporter.config.shared import LISTED, Collection, Model, SourceConfig
from exporter.config.thresholds import ThresholdLines
from exporter.config.types import Hosts, Listen, Switch, fault, not_empty
from exporter.systems import SYSTEMS, resolve

SOURCES: dict[str, type[SourceConfig]] = {
    name: resolve(system.config) for name, system in SYSTEMS.items()
}
"""The config model of each system."""


class LogConfig(Model):
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


if TYPE_CHECKING:
    AnySource = SourceConfig
else:
    AnySource = Annotated[
        Annotated[Union[tuple(SOURCES.values())], Field(discriminator="system")],  # noqa: UP007 - made of a table
        BeforeValidator(_of_a_known_system),
    ]


class Config(Model):
    """The config file."""

    listen: Listen = "0.0.0.0:9877"
    """Address of the HTTP server, such as 0.0.0.0:9877 or :9877."""
    reload_endpoint: Switch = False
    """Whether POST /-/reload reloads the config."""
    allowed_hosts: Hosts = ()
    """Allowed values of the Host header, with or without a port. Empty allows any. Health checks
    are always allowed.
    """
    log: LogConfig = LogConfig()
    """Logging."""
    defaults: Collection = Collection()
    """Defaults for all sources."""
    thresholds: ThresholdLines = ()
    """Thresholds of subscriptions and probes. The first line that matches applies."""
    scaling: ScalingLines = ()
    """Subscriptions that get scaling advice. The first line that matches applies."""
    scaling_state: SecretPath | None = None
    """File that keeps what the scaling advice has learned across restarts of the exporter."""
    keda: KedaConfig | None = None
    """The external scaler for KEDA. Off by default."""
    sources: Annotated[tuple[AnySource, ...], BeforeValidator(not_empty), LISTED]
    """The clusters to read."""

    @field_validator("scaling_state")
    @classmethod
    def _beside_the_config(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        return beside_the_config(given, info)
