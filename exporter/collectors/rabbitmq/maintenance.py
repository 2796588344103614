"""Detects nodes in maintenance mode, and the probes that fail only because of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import structlog

from exporter.collectors.deadlines import Share
from exporter.collectors.rabbitmq.api import ManagementApi, in_path
from exporter.collectors.reply_rows import RowError, number, rows_of, text
from exporter.model import CollectError, Deadline, Probes

COLUMNS = "name,being_drained"
SHARE = 0.5
"""Fraction of a probe's remaining time that one request may take."""
ADVICE = "to end maintenance mode, run rabbitmq-upgrade revive on the node"


@dataclass(frozen=True, slots=True)
class Address:
    """An address that is probed."""

    node: str
    """Name of the node in the probe's metrics."""
    url: str
    queue: str
    """Current queue of the probe, which is on the node that the address leads to. Empty without a
    connection.
    """


class Maintenance:
    """Knows which nodes are drained, and which address leads to which node.

    Safe to use from any thread.

    While the probe of an address works, the node of the probe's queue is the node of the address.
    If the probe never worked, host and port decide: the node is the only one that has this host in
    its name and listens on this port.
    """

    def __init__(self, source: str, api: ManagementApi, vhost: str) -> None:
        self._api = api
        self._vhost = vhost
        self._lock = threading.Lock()
        self._drained: frozenset[str] = frozenset()
        self._every: frozenset[str] = frozenset()
        self._homes: dict[str, tuple[str, str]] = {}
        """Address to the probe's queue and its node."""
        self._log = structlog.get_logger(__name__).bind(source=source)

    @property
    def notices(self) -> Sequence[str]:
        """Messages about nodes in maintenance mode."""
        return [
            f"{node} is in maintenance mode and accepts no clients; {ADVICE}"
            for node in sorted(self._drained)
        ]

    def observe(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """Note the rows of all nodes, by name; log which began or ended maintenance."""
        drained = frozenset(name for name, row in nodes.items() if row.get("being_drained") is True)
        with self._lock:
            began, ended = drained - self._drained, self._drained - drained
            self._drained, self._every = drained, frozenset(nodes)
        for node in sorted(began):
            self._log.warning("node.in_maintenance", node=node, advice=ADVICE)
        for node in sorted(ended):
            self._log.info("node.maintenance_ended", node=node)

    def excuse(self, found: Probes, addresses: Sequence[Address], deadline: Deadline) -> Probes:
        """Return the probes without those that failed because their node is in maintenance mode.

        Their nodes are `resting`. If the node of a failed probe is unknown, its problem names the
        nodes in maintenance mode.
        """
        failed = {probe.node for probe in found.probes if probe.receive is None}
        for address in addresses:
            if address.node not in failed:
                self._learn(address, deadline)
        if not failed:
            return found
        self._ask(deadline)
        if not self._drained:
            return found
        for address in addresses:
            if address.node in failed and address.node not in self._homes:
                self._guess(address, deadline)
        homes = {each.node: self.home(each) for each in addresses}
        resting = frozenset(node for node in failed if homes.get(node) in self._drained)
        names = ", ".join(sorted(self._drained))
        return replace(
            found,
            probes=[probe for probe in found.probes if probe.node not in resting],
            problems=[
                each
                if homes.get(each.subject)
                else replace(each, message=f"{each.message}; nodes in maintenance mode: {names}")
                for each in found.problems
                if each.subject not in resting
            ],
            resting=resting,
        )

    def home(self, address: Address) -> str | None:
        """Return the node that an address leads to; None if unknown."""
        known = self._homes.get(address.node)
        return None if known is None else known[1]

    def _learn(self, address: Address, deadline: Deadline) -> None:
        """Find out on which node the probe's queue is, once per connection."""
        known = self._homes.get(address.node)
        if not address.queue or (known is not None and known[0] == address.queue):
            return
        path = f"queues/{in_path(self._vhost)}/{in_path(address.queue)}"
        try:
            row = self._api.get(path, Share(deadline, SHARE), columns="node", disable_stats="true")
            self._homes[address.node] = (address.queue, text(row, "node"))
        except (CollectError, RowError):
            return  # the next probe asks again

    def _guess(self, address: Address, deadline: Deadline) -> None:
        """Choose the node with the address's host in its name.

        Of several, the one that listens on its port.
        """
        host = (urlsplit(address.url).hostname or "").casefold()
        named = [node for node in self._every if _is_host(host, node.rpartition("@")[2].casefold())]
        if len(named) > 1:
            try:
                answer = self._api.get("overview", Share(deadline, SHARE), columns="listeners")
                rows = rows_of(answer, "listeners")
                port = address.node.rpartition(":")[2]
                there = {text(row, "node") for row in rows if str(number(row, "port")) == port}
            except (CollectError, RowError):
                return
            named = [node for node in named if node in there]
        if len(named) == 1:
            self._homes[address.node] = ("", named[0])

    def _ask(self, deadline: Deadline) -> None:
        """Ask which nodes are drained now. Without an answer, the last known state stays."""
        try:
            rows = self._api.rows("nodes", Share(deadline, SHARE), columns=COLUMNS)
            self.observe({text(row, "name"): row for row in rows})
        except (CollectError, RowError):
            return


def _is_host(address: str, node: str) -> bool:
    """Return whether an address's host is the host of a node's name.

    One of them may be a short name.
    """
    if "." in address and "." in node:
        return address == node
    return address.partition(".")[0] == node.partition(".")[0]
