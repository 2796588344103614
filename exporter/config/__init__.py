"""The config file as typed models; an error names the key, the line and what was expected."""

from exporter.config.errors import ConfigError, Fault
from exporter.config.kafka import KafkaSource
from exporter.config.loading import load, parse
from exporter.config.models import Config, Log, Source
from exporter.config.nsq import NsqSource
from exporter.config.rabbitmq import RabbitSource
from exporter.config.shared import GroupFilter, NameFilter, Schedule

__all__ = [
    "Config",
    "ConfigError",
    "Fault",
    "GroupFilter",
    "KafkaSource",
    "Log",
    "NameFilter",
    "NsqSource",
    "RabbitSource",
    "Schedule",
    "Source",
    "load",
    "parse",
]
