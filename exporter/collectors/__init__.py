"""One folder a system. A new system is an entry in `COLLECTORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from exporter.collectors.isolated import IsolatedCollector
from exporter.collectors.wire import Setup
from exporter.config import KafkaSource
from exporter.model import Collector

LogFormat = Literal["json", "console"]


def _kafka(config: KafkaSource, log_format: LogFormat, log_level: str) -> Collector:
    return IsolatedCollector(
        Setup(config, log_format, log_level), "kafka", ("discovery", "backlog", "consumers")
    )


COLLECTORS: Mapping[str, Callable[[KafkaSource, LogFormat, str], Collector]] = {"kafka": _kafka}
