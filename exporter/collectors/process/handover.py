"""Hands backlogs and times over to the daemon without the parts that have not changed.

Most groups of a large cluster do not move between two polls, and pickling their positions costs as
much as everything else that is handed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

from exporter.model import GroupState, LogBacklog, LogTimes, Positions, Stamps

Key = tuple[str, str]
"""Group and destination."""
K = TypeVar("K")
V = TypeVar("V")


class Changes(NamedTuple, Generic[K, V]):
    """How a mapping differs from the one that was handed over before it."""

    changed: dict[K, V]
    """New entries, and those with another value."""
    gone: Sequence[K]

    def applied(self, before: Mapping[K, V]) -> Mapping[K, V]:
        """Return the new mapping; the same one if nothing changed."""
        if not self.changed and not self.gone:
            return before
        found = {**before, **self.changed}
        for key in self.gone:
            del found[key]
        return found


class ChangedBacklog(NamedTuple):
    """A backlog without positions and states, and how these changed."""

    backlog: LogBacklog
    positions: Changes[str, Positions]
    states: Changes[str, GroupState]


class ChangedTimes(NamedTuple):
    """Times without stamps, and how these changed."""

    times: LogTimes
    stamps: Changes[Key, Stamps]


class Giver:
    """The side of the collector's process. One for all tasks of a source."""

    def __init__(self) -> None:
        self._positions: Mapping[str, Positions] = {}
        self._states: Mapping[str, GroupState] = {}
        self._stamps: Mapping[Key, Stamps] = {}

    def shrunk(self, value: Any) -> Any:
        """Return what to hand over. Call `given` with the same value when that was done."""
        if isinstance(value, LogBacklog):
            return ChangedBacklog(
                replace(value, positions={}, states={}),
                _changes(self._positions, value.positions),
                _changes(self._states, value.states),
            )
        if isinstance(value, LogTimes):
            stamp = self._stamps.get
            stamps = {k: v for k, v in value.stamps.items() if stamp(k) is not v}
            return ChangedTimes(
                replace(value, stamps={}), Changes(stamps, _gone(self._stamps, value.stamps))
            )
        return value

    def given(self, value: Any) -> None:
        """Note that this value was handed over."""
        if isinstance(value, LogBacklog):
            self._positions, self._states = value.positions, value.states
        elif isinstance(value, LogTimes):
            self._stamps = value.stamps


class Taker:
    """The side of the daemon. One for each process."""

    def __init__(self) -> None:
        self._positions: Mapping[str, Positions] = {}
        self._states: Mapping[str, GroupState] = {}
        self._stamps: Mapping[Key, Stamps] = {}

    def whole(self, value: Any) -> Any:
        """Return what was given to `Giver.shrunk`. Unchanged parts are the same objects as before.

        A value that has no such parts is returned as it is.
        """
        if isinstance(value, ChangedBacklog):
            self._positions = value.positions.applied(self._positions)
            self._states = value.states.applied(self._states)
            return replace(value.backlog, positions=self._positions, states=self._states)
        if isinstance(value, ChangedTimes):
            self._stamps = value.stamps.applied(self._stamps)
            return replace(value.times, stamps=self._stamps)
        return value


def _changes(before: Mapping[K, V], now: Mapping[K, V]) -> Changes[K, V]:
    get = before.get
    return Changes({k: v for k, v in now.items() if get(k) != v}, _gone(before, now))


def _gone(before: Mapping[K, Any], now: Mapping[K, Any]) -> list[K]:
    return [key for key in before if key not in now]
