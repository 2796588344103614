"""The brokers of a source, one by one, as long as they belong to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from exporter.model import Roster

NODE_KEPT = 86_400.0
"""Seconds for which a vanished node stays visible as down, where the source does not say that it was removed."""
GONE_AFTER = 2
"""Answers in a row by which a node does not belong to its source any more, before it is gone."""

Labeler = Callable[[Mapping[str, str]], str]
"""Makes the text of a label set; given by the exposition, so that this package knows nothing of it."""


class Membership:
    """Whether one node still belongs to its source."""

    __slots__ = ("_answered", "_identity", "_lacking")

    def __init__(self) -> None:
        self._identity = ""
        self._lacking = 0
        self._answered: float | None = None

    def is_over(self, name: str, roster: Roster | None) -> bool:
        """Take an answer; tell whether the node is gone. One that is given again counts once."""
        if roster is None or roster.at == self._answered:
            return self._lacking >= GONE_AFTER
        self._answered = roster.at
        self._identity = roster.nodes.get(name, self._identity)
        self._lacking = self._lacking + 1 if roster.lacks(name, self._identity) else 0
        return self._lacking >= GONE_AFTER


@dataclass(slots=True)
class Node:
    """A broker: whether it answered at the last look, and when it last did."""

    label: str
    up: bool
    seen: float
    membership: Membership = field(default_factory=Membership)


def follow_nodes(
    nodes: dict[str, Node],
    seen: Mapping[str, bool],
    labeler: Labeler,
    now: float,
    roster: Roster | None = None,
) -> None:
    """Change `nodes` by what a look saw: name to whether the node answered."""
    for name, up in seen.items():
        node = nodes.get(name)
        if node is None:
            node = nodes[name] = Node(labeler({"node": name}), up, now)
        node.up = up
        node.seen = now
    for name, node in list(nodes.items()):
        if name not in seen:
            node.up = False
        if node.membership.is_over(name, roster) or now - node.seen > NODE_KEPT:
            del nodes[name]
