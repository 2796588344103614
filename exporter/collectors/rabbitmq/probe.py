"""Sends a message to each node and receives it, through an exclusive queue of this exporter.

RabbitMQ deletes the queue when the connection is closed.
"""

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
"""Seconds of the task's deadline that are kept for everything but waiting."""


class RabbitProber:
    """Keeps a connection to each address and sends a probe over it."""

    def __init__(self, settings: RabbitSettings) -> None:
        self._settings = settings
        self._connections = [ProbeConnection(settings, url) for url in settings.amqp]

    def run(self, deadline: Deadline) -> Probes:
        """Probe all addresses at the same time."""
        outcomes = self._outcomes(deadline)
        return Probes(
            [outcome.probe for outcome in outcomes],
            [outcome.problem for outcome in outcomes if outcome.problem is not None],
            Roster(
                time.monotonic(),
                {connection.node: connection.node for connection in self._connections},
                frozenset(),
            ),
        )

    def addresses(self) -> list[Address]:
        """Return the probed addresses, and each probe's current queue."""
        return [
            Address(connection.node, connection.url, connection.queue)
            for connection in self._connections
        ]

    def check(self, maintenance: Maintenance, deadline: Deadline) -> list[Finding]:
        """Probe each address once."""
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
        for connection in self._connections:
            connection.close()

    def _outcomes(self, deadline: Deadline) -> Sequence[ProbeOutcome]:
        if not self._connections:
            return []
        seconds = min(self._settings.probe_deadline, max(deadline.remaining() - MARGIN, 0.1))
        with ThreadPoolExecutor(len(self._connections)) as threads:
            return list(
                threads.map(lambda connection: connection.probe(seconds), self._connections)
            )
