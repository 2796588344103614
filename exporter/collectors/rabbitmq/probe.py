"""A message to each node and back, through an exclusive queue of the exporter's own, which goes with the connection."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from exporter.collectors.rabbitmq.line import Line, Outcome
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import Deadline, Finding, Probes, Roster

MARGIN = 0.5
"""Seconds of the task's deadline that are left for everything but waiting."""


class RabbitProber:
    """Keeps a connection to each address, and sends a message over it and back."""

    def __init__(self, settings: RabbitSettings) -> None:
        self._settings = settings
        self._lines = [Line(settings, url) for url in settings.amqp]

    def run(self, deadline: Deadline) -> Probes:
        """Probe all addresses at the same time."""
        outcomes = self._outcomes(deadline)
        return Probes(
            [outcome.probe for outcome in outcomes],
            [outcome.problem for outcome in outcomes if outcome.problem is not None],
            Roster(time.monotonic(), {line.node: line.node for line in self._lines}, frozenset()),
        )

    def check(self, deadline: Deadline) -> list[Finding]:
        """Try a probe of each address."""
        findings = []
        for line, (probe, problem) in zip(self._lines, self._outcomes(deadline), strict=True):
            detail = "the message did not come back in time"
            if problem is not None:
                detail = problem.message
            elif probe.receive is not None:
                detail = f"end to end in {probe.receive * 1000:.1f} ms"
            feature = f"probe ({urlsplit(line.url).netloc})"
            findings.append(Finding(feature, ok=probe.receive is not None, detail=detail))
        return findings

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()

    def _outcomes(self, deadline: Deadline) -> Sequence[Outcome]:
        if not self._lines:
            return []
        seconds = min(self._settings.probe_deadline, max(deadline.remaining() - MARGIN, 0.1))
        with ThreadPoolExecutor(len(self._lines)) as threads:
            return list(threads.map(lambda line: line.probe(seconds), self._lines))
