"""The brokers of a source, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

NODE_KEPT = 86_400.0
"""Seconds for which a vanished node stays visible as down."""

Labeler = Callable[[Mapping[str, str]], str]
"""Makes the text of a label set; given by the exposition, so that this package knows nothing of it."""


@dataclass(slots=True)
class Node:
    """A broker: whether it answered at the last look, and when it last did."""

    label: str
    up: bool
    seen: float


def follow_nodes(
    nodes: dict[str, Node], seen: Mapping[str, bool], labeler: Labeler, now: float
) -> None:
    """Change `nodes` by what a look saw: name to whether the node answered."""
    for name, up in seen.items():
        node = nodes.get(name)
        if node is None:
            node = nodes[name] = Node(labeler({"node": name}), up, now)
        node.up = up
        node.seen = now
    for name in [name for name in nodes if name not in seen]:
        nodes[name].up = False
        if now - nodes[name].seen > NODE_KEPT:
            del nodes[name]
