"""Metrics of the exporter's own process: build, config, `process_*`, `python_*`."""

from __future__ import annotations

import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from exporter import __version__, logging_setup
from exporter.catalogue import BY_NAME
from exporter.show.exposition import Format


class _CountersKeptElsewhere(Collector):
    """Counters kept elsewhere: dropped log lines, values left out, failed queries."""

    def __init__(
        self, left_out: Callable[[], int], failed_inputs: Callable[[], Mapping[str, int]]
    ) -> None:
        self._failed_inputs = failed_inputs
        self._counts = {
            "mq_log_lines_dropped_total": logging_setup.dropped,
            "mq_values_out_of_range_total": left_out,
        }

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the counters, without their creation times, which are not needed."""
        for name, count in self._counts.items():
            yield CounterMetricFamily(name, BY_NAME[name].help, value=count())
        failures = self._failed_inputs()
        if failures:
            name = "mq_scaling_input_failures_total"
            found = CounterMetricFamily(name, BY_NAME[name].help, labels=["reason"])
            for reason, failed in sorted(failures.items()):
                found.add_metric([reason], failed)
            yield found


class _KedaRequests(Collector):
    """Counts the answers to KEDA. Absent while the KEDA server is off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, method: str, code: str, by: int) -> None:
        with self._lock:
            self._counts[method, code] += by

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the counter, if anything was added to it."""
        with self._lock:
            counts = dict(self._counts)
        if not counts:
            return
        metric = BY_NAME["mq_keda_requests_total"]
        family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, count in counts.items():
            family.add_metric(labels, count)
        yield family


class OwnMetrics:
    """The metrics of the process. May be changed and rendered from any thread."""

    def __init__(
        self,
        left_out: Callable[[], int],
        failed_inputs: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """Begins with a config that was accepted, because the process runs.

        `left_out` counts values left out of the exposition, `failed_inputs` failed queries of
        scaling inputs by reason.
        """
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(_CountersKeptElsewhere(left_out, failed_inputs))
        self._keda = _KedaRequests()
        registry.register(self._keda)
        info = Gauge(
            "mq_exporter_build_info",
            "Always 1; the labels are the versions of the exporter, Python and confluent-kafka.",
            ("version", "python", "confluent_kafka"),
            registry=registry,
        )
        info.labels(__version__, platform.python_version(), version("confluent-kafka")).set(1)
        self._accepted = Gauge(
            "mq_config_last_reload_successful",
            "1 if the last config reload succeeded, 0 if the new config was rejected and the "
            "previous one is still in use.",
            registry=registry,
        )
        self._accepted_at = Gauge(
            "mq_config_last_reload_success_timestamp_seconds",
            "Unix time at which the config in use was loaded.",
            registry=registry,
        )
        self.config_read(accepted=True)

    def config_read(self, *, accepted: bool) -> None:
        """Note that the config was read, and whether it was accepted."""
        self._accepted.set(accepted)
        if accepted:
            self._accepted_at.set_to_current_time()

    def keda_answered(self, method: str, code: str, by: int = 1) -> None:
        """Count answers to KEDA. With 0 the counter is exposed before the first answer."""
        self._keda.add(method, code, by)

    def render(self, fmt: Format) -> bytes:
        """Return the exposition of these metrics, without `# EOF`."""
        if fmt == "openmetrics":
            text = bytes(generate_openmetrics(self._registry))
            return text.removesuffix(b"# EOF\n")
        return bytes(generate_latest(self._registry))
