"""The config file as typed models; an error names the key, the line and what was expected."""

from exporter.config.errors import ConfigError, Fault
from exporter.config.loading import load, parse
from exporter.config.models import (
    Config,
    GroupFilter,
    KafkaSource,
    Log,
    NameFilter,
    Schedule,
)

__all__ = [
    "Config",
    "ConfigError",
    "Fault",
    "GroupFilter",
    "KafkaSource",
    "Log",
    "NameFilter",
    "Schedule",
    "load",
    "parse",
]
