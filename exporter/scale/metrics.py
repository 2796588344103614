"""The controller's own metrics, and the routes of its HTTP server."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from exporter import __version__
from exporter.liveness import Pulse
from exporter.scale.advice import ValidAdvice
from exporter.scaling.board import SubscriptionName
from exporter.web.server import Request, Response, Route

TEXT = "text/plain; charset=utf-8"
GET = frozenset({"GET"})
RESULTS = ("success", "failure", "timeout", "not_started", "stopped")

NUMBERS = {
    "mq_scale_desired_consumers": "Advised number of consumers, as of the last valid advice.",
    "mq_scale_present_consumers": "Consumers that the exporter saw, as of the last valid advice.",
    "mq_scale_applied_consumers": "Number of consumers that was set last.",
    "mq_scale_last_success_timestamp_seconds": "Unix time of the last command that succeeded.",
    "mq_scale_last_advice_timestamp_seconds": "Unix time of the last valid advice.",
}
"""Metrics that are absent until their value is known, with their help."""


class ScaleMetrics(Collector):
    """The metrics of one controller. May be changed and rendered from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._numbers: dict[str, float] = {}
        self._registry = registry = CollectorRegistry()
        registry.register(self)
        self._commands = Counter(
            "mq_scale_commands",
            "Commands that have ended, by result.",
            ("result",),
            registry=registry,
        )
        for result in RESULTS:
            self._commands.labels(result)
        self._valid = Gauge(
            "mq_scale_advice_valid",
            "1 if the last poll returned valid advice, 0 if nothing can be changed now.",
            registry=registry,
        )
        self._info = Gauge(
            "mq_scale_info",
            "Always 1; the labels are the version and the names of the subscription.",
            ("version", "source", "vhost", "destination", "group"),
            registry=registry,
        )

    def found(self, place: SubscriptionName) -> None:
        """Note the names of the subscription."""
        names = [name or "" for name in place]
        self._info.labels(__version__, *names).set(1)

    def polled(self, advice: ValidAdvice | None) -> None:
        """Note the advice of a poll; None if there was no valid one."""
        self._valid.set(advice is not None)
        if advice is None:
            return
        self._set("mq_scale_desired_consumers", advice.desired)
        self._set("mq_scale_present_consumers", advice.present)
        self._set("mq_scale_last_advice_timestamp_seconds", self._clock())

    def applied(self, consumers: int | None) -> None:
        """Note the number of consumers that was set last."""
        self._set("mq_scale_applied_consumers", consumers)

    def ended(self, result: str) -> None:
        """Note how a command ended."""
        self._commands.labels(result).inc()
        if result == "success":
            self._set("mq_scale_last_success_timestamp_seconds", self._clock())

    def _set(self, name: str, value: float | None) -> None:
        self._numbers = {**self._numbers, name: math.nan if value is None else value}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics whose values are known."""
        for name, value in self._numbers.items():
            if not math.isnan(value):
                yield GaugeMetricFamily(name, NUMBERS[name], value=value)

    def render(self) -> bytes:
        """Return the exposition in the text format."""
        return bytes(generate_latest(self._registry))


def routes(metrics: ScaleMetrics, pulse: Pulse) -> list[Route]:
    """Return the routes of the controller's server."""
    return [
        Route("/metrics", GET, partial(_metrics, metrics)),
        Route("/-/healthy", GET, partial(_healthy, pulse), public=True),
    ]


async def _metrics(metrics: ScaleMetrics, _: Request) -> Response:
    return Response(200, CONTENT_TYPE_LATEST, [metrics.render()])


async def _healthy(pulse: Pulse, _: Request) -> Response:
    fault = pulse.fault(time.monotonic())
    if fault is not None:
        return Response(503, TEXT, [f"unhealthy\n{pulse.name}: {fault}\n".encode()])
    return Response(200, TEXT, [b"healthy\n"])
