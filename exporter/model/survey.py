"""What `check` asks of a source: all names, and which subscriptions have not moved for long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from exporter.model.problems import Problem

Stillness = Literal["still", "moved", "drained", "unknown"]
"""still: a message has been unread for longer than was asked, or the broker says that nothing has
happened for that long. moved: a newer message was read. drained: no message that waits is that old,
so nothing shows when it last moved. unknown: the broker does not say.
"""


class Surveyed(NamedTuple):
    """One subscription."""

    vhost: str | None
    destination: str
    group: str | None
    consumers: int | None
    """Its consumers; for a group that others share partitions with, all members of the group."""
    stillness: Stillness


@dataclass(frozen=True, slots=True)
class Survey:
    """The names of a source, and its subscriptions."""

    destinations: frozenset[tuple[str | None, str]]
    """vhost and destination."""
    groups: frozenset[str]
    subscriptions: Sequence[Surveyed]
    problems: Sequence[Problem] = ()
