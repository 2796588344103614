"""Which subscriptions are measured for latency, and which of their positions have moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from exporter.model import LogBacklog
from exporter.name_filter import NameMatcher

Key = tuple[str, str]
"""Group and destination."""


CommittedAt = Callable[[str, str, int, int], float | None]
"""Group, topic, partition and offset to Unix seconds."""


def unknown_time(group: str, topic: str, partition: int, offset: int) -> None:
    """Return None: the time of no commit is known."""


class Movement(NamedTuple):
    """A position that has moved forward."""

    key: Key
    topic: str
    partition: int
    last: int
    """Offset of the last consumed message."""
    at: float
    """Unix time of the commit; if that is unknown, when the movement was seen."""
    tries: int = 0


class Followed:
    """Selects subscriptions and tracks their positions."""

    def __init__(self, limit: int, always: NameMatcher) -> None:
        """Follow the first `limit` subscriptions, and all whose group matches `always`."""
        self._limit = limit
        self._always = always
        self._positions: dict[Key, Mapping[int, int | None]] = {}
        self._again: list[Movement] = []

    @property
    def keys(self) -> Iterable[Key]:
        """The followed subscriptions."""
        return self._positions.keys()

    def observe(
        self, backlog: LogBacklog, at: float, committed_at: CommittedAt = unknown_time
    ) -> list[Movement]:
        """Return the movements since the last poll, and those that were given back with `retry`."""
        self._choose(backlog)
        movements, self._again = self._again, []
        for key, before in self._positions.items():
            group, topic = key
            positions = backlog.positions.get(group)
            if positions is None:
                continue
            offsets = positions.offsets.get(topic)
            if offsets is None:
                continue
            if offsets != before:
                for partition, position in offsets.items():
                    known = before.get(partition)
                    if position is not None and known is not None and position > known:
                        when = committed_at(group, topic, partition, position) or at
                        movements.append(Movement(key, topic, partition, position - 1, when))
                self._positions[key] = {**before, **_known(offsets)}
        return movements

    def retry(self, movement: Movement, last: int, most: int) -> None:
        """Queue a movement for the next poll because its time is unknown.

        `last` is the offset to try.
        """
        if movement.tries + 1 < most and last >= 0:
            self._again.append(movement._replace(last=last, tries=movement.tries + 1))

    def _choose(self, backlog: LogBacklog) -> None:
        present = {
            (group, topic): offsets
            for group, (_, by_topic) in backlog.positions.items()
            for topic, offsets in by_topic.items()
            if topic in backlog.logs
        }
        if backlog.groups_complete and backlog.logs_complete:
            for key in [key for key in self._positions if key not in present]:
                del self._positions[key]
        for topic in backlog.recreated:
            for key in [key for key in self._positions if key[1] == topic]:
                self._positions[key] = {}
        room = self._limit - len(self._positions)
        for key in sorted(present.keys() - self._positions.keys()):
            if room > 0 or self._always.allows(key[0]):
                self._positions[key] = _known(present[key])
                room -= 1


def _known(offsets: Mapping[int, int | None]) -> dict[int, int | None]:
    return {partition: position for partition, position in offsets.items() if position is not None}
