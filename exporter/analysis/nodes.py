"""The brokers of a source, one by one, as long as they belong to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from exporter.model import Roster

NODE_KEPT = 86_400.0
"""Seconds for which a vanished node stays visible as down, where the source does not say that it was removed."""
MOST_VANISHED = 1_000
"""Vanished nodes that are kept: a source may name others all the time."""
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

    def is_over(self, name: str, roster: Roster | None, *, proven: bool) -> bool:
        """Take an answer; tell whether the node is gone. One that is given again counts once.

        Where an answer can't tell whether what it lacks is down, a node is only taken to be so if it is `proven` that there
        was one, since it answered once.
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
    """A broker: whether it answered at the last look, and when it last did."""

    label: str
    up: bool
    seen: float
    proven: bool
    """Whether it ever answered."""
    membership: Membership = field(default_factory=Membership)


class LastSeen(Protocol):
    """A node that was seen at some time."""

    seen: float


T = TypeVar("T", bound=LastSeen)


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
    """Drop the nodes that were not seen now beyond `MOST_VANISHED`, those first that vanished first."""
    vanished = [name for name, node in nodes.items() if node.seen < now]
    if len(vanished) > MOST_VANISHED:
        vanished.sort(key=lambda name: nodes[name].seen)
        for name in vanished[:-MOST_VANISHED]:
            del nodes[name]
