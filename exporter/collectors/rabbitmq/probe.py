"""A message to each node and back, through an exclusive queue of the exporter's own, which goes with the connection."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from exporter.collectors.rabbitmq.maintenance import ADVICE, Address, Maintenance
from exporter.collectors.rabbitmq.probe_connection import ProbeConnection, ProbeOutcome
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import Deadline, Finding, Probes, Roster

MARGIN = 0.5
"""Seconds of the task's deadline that are left for everything but waiting."""


class RabbitProber:
    """Keeps a connection to each address, and sends a message over it and back."""

    def __init__(self, settings: RabbitSettings) -> None:
        self._settings = settings
        self._lines = [ProbeConnection(settings, url) for url in settings.amqp]

    def run(self, deadline: Deadline) -> Probes:
        """Probe all addresses at the same time."""
        outcomes = self._outcomes(deadline)
        return Probes(
            [outcome.probe for outcome in outcomes],
            [outcome.problem for outcome in outcomes if outcome.problem is not None],
            Roster(time.monotonic(), {line.node: line.node for line in self._lines}, frozenset()),
        )

    def addresses(self) -> list[Address]:
        """Return what is probed, and each probe's queue of now."""
        return [Address(line.node, line.url, line.queue) for line in self._lines]

    def check(self, maintenance: Maintenance, deadline: Deadline) -> list[Finding]:
        """Try a probe of each address."""
        found = maintenance.excuse(self.run(deadline), self.addresses(), deadline)
        probes = {probe.node: probe for probe in found.probes}
        problems = {problem.subject: problem.message for problem in found.problems}
        findings = []
        for address in self.addresses():
            probe, detail = probes.get(address.node), "the message did not come back in time"
            if address.node in found.resting:
                home = maintenance.home(address)
                detail = f"{home} is in maintenance mode and accepts no clients; {ADVICE}"
            elif address.node in problems:
                detail = problems[address.node]
            elif probe is not None and probe.receive is not None:
                detail = f"end to end in {probe.receive * 1000:.1f} ms"
            feature = f"probe ({urlsplit(address.url).netloc})"
            works = probe is not None and probe.receive is not None
            findings.append(Finding(feature, ok=works, detail=detail))
        return findings

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()

    def _outcomes(self, deadline: Deadline) -> Sequence[ProbeOutcome]:
        if not self._lines:
            return []
        seconds = min(self._settings.probe_deadline, max(deadline.remaining() - MARGIN, 0.1))
        with ThreadPoolExecutor(len(self._lines)) as threads:
            return list(threads.map(lambda line: line.probe(seconds), self._lines))
