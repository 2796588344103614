"""The nodes (brokers) of a source, as long as they belong to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from exporter.model import Roster

NODE_KEPT = 86_400.0
"""Seconds for which a missing node is shown as down if its removal cannot be detected."""
MOST_VANISHED = 1_000
"""Maximum number of missing nodes that are kept, in case a source keeps naming new ones."""
GONE_AFTER = 2
"""A node is gone after this many consecutive responses without it."""

Labeler = Callable[[Mapping[str, str]], str]
"""Makes the text of a label set. Passed in, so that this package does not import the exposition."""


class Membership:
    """Whether one node still belongs to its source."""

    __slots__ = ("_answered", "_identity", "_lacking")

    def __init__(self) -> None:
        self._identity = ""
        self._lacking = 0
        self._answered: float | None = None

    def is_over(self, name: str, roster: Roster | None, *, proven: bool) -> bool:
        """Record a response and return whether the node is gone. The same response counts once.

        If the response does not list nodes that are down, a missing node is assumed to be down only
        if it is `proven`: it answered at least once.
        """
        if roster is None or roster.at == self._answered:
            return self._lacking >= GONE_AFTER
        self._answered = roster.at
        self._identity = roster.nodes.get(name, self._identity)
        made_up = not proven and roster.absent is None and name not in roster.nodes
        lacking = made_up or roster.lacks(name, self._identity)
        self._lacking = self._lacking + 1 if lacking else 0
        return self._lacking >= GONE_AFTER


@dataclass(slots=True)
class Node:
    """A broker: whether it answered at the last poll, and when it was last listed."""

    label: str
    up: bool
    seen: float
    proven: bool
    """Whether it ever answered."""
    membership: Membership = field(default_factory=Membership)


class LastSeen(Protocol):
    """Anything with the time at which it was last seen."""

    seen: float


T = TypeVar("T", bound=LastSeen)


def follow_nodes(
    nodes: dict[str, Node],
    seen: Mapping[str, bool],
    labeler: Labeler,
    now: float,
    roster: Roster | None = None,
) -> None:
    """Update `nodes`. `seen` maps the name of each node in this poll to whether it answered."""
    for name, up in seen.items():
        node = nodes.get(name)
        if node is None:
            node = nodes[name] = Node(labeler({"node": name}), up, now, up)
        node.up = up
        node.proven |= up
        node.seen = now
    for name, node in list(nodes.items()):
        if name not in seen:
            node.up = False
        over = node.membership.is_over(name, roster, proven=node.proven)
        if over or now - node.seen > NODE_KEPT:
            del nodes[name]
    forget_most(nodes, now)


def forget_most(nodes: MutableMapping[str, T], now: float) -> None:
    """Keep at most `MOST_VANISHED` of the nodes that were not seen at `now`, the latest ones."""
    vanished = [name for name, node in nodes.items() if node.seen < now]
    if len(vanished) > MOST_VANISHED:
        vanished.sort(key=lambda name: nodes[name].seen)
        for name in vanished[:-MOST_VANISHED]:
            del nodes[name]
