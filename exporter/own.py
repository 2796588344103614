"""The exporter's own process as metrics: `mq_exporter_build_info`, `process_*`, `python_*`."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter import __version__
from exporter.exposition import Format


def own_metrics() -> Callable[[Format], bytes]:
    """Return a renderer of the process's own metrics, without `# EOF`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    info = Gauge(
        "mq_exporter_build_info",
        "1, labelled with the versions of the exporter and of what it is built on.",
        ("version", "python", "confluent_kafka"),
        registry=registry,
    )
    info.labels(__version__, platform.python_version(), version("confluent-kafka")).set(1)

    def render(fmt: Format) -> bytes:
        if fmt == "openmetrics":
            text = bytes(generate_openmetrics(registry))
            return text.removesuffix(b"# EOF\n")
        return bytes(generate_latest(registry))

    return render
