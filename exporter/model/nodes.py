"""Observations of a source's nodes: which ones belong to it, and what became of the probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.model.problems import Problem


@dataclass(frozen=True, slots=True)
class Roster:
    """The nodes that belong to a source, as one response lists them."""

    at: float
    """When the source was asked, on the monotonic clock. A different value means a new response."""
    nodes: Mapping[str, str]
    """Name of each listed node to its identity (a broker's id), which outlives a change of name."""
    absent: frozenset[str] | None
    """Identities of nodes that belong to the source and are not listed because they are down.
    None if the response does not contain them."""

    def lacks(self, name: str, identity: str) -> bool:
        """Return whether no node of this name belongs to the source: it was removed or renamed."""
        if name in self.nodes:
            return False
        return identity in self.nodes.values() or self.is_removed(identity)

    def is_removed(self, identity: str) -> bool:
        """Return whether the node is neither listed under any name nor down."""
        listed = identity in self.nodes.values()
        return not listed and self.absent is not None and identity not in self.absent


class NodeProbe(NamedTuple):
    """The result of one probe of one node. Times are seconds since sending; None if not reached."""

    node: str
    sent: bool
    """Whether the probe could be sent."""
    publish: float | None
    receive: float | None
    ack: float | None


@dataclass(frozen=True, slots=True)
class Probes:
    """The results of one run of the probe task."""

    probes: Sequence[NodeProbe]
    problems: Sequence[Problem] = ()
    roster: Roster | None = None
    """The nodes that belong to the source; None if unknown."""
    resting: frozenset[str] = frozenset()
    """Nodes that reject clients on purpose (maintenance), so that no probe can test them."""
