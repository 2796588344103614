"""The config file as typed models; an error names the key, the line and what was expected."""

from exporter.config.errors import ConfigError, Fault
from exporter.config.loading import load, parse
from exporter.config.models import Config, LogConfig
from exporter.config.shared import GroupFilter, NameFilter, Schedule, SourceConfig

__all__ = [
    "Config",
    "ConfigError",
    "Fault",
    "GroupFilter",
    "LogConfig",
    "NameFilter",
    "Schedule",
    "SourceConfig",
    "load",
    "parse",
]
