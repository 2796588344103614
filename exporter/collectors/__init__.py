"""One folder a system. A new system is an entry in `COLLECTORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.collectors.kafka.collector import KafkaCollector
from exporter.config import KafkaSource
from exporter.model import Collector

COLLECTORS: Mapping[str, Callable[[KafkaSource], Collector]] = {"kafka": KafkaCollector}
