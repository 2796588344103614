"""Hands backlogs and times over to the daemon without the parts that have not changed.

Most groups of a large cluster do not move between two polls, and pickling their positions costs as
much as everything else that is handed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from exporter.model import LogBacklog, LogTimes, Positions, Stamps

Key = tuple[str, str]
"""Group and destination."""


class ChangedBacklog(NamedTuple):
    """A backlog without positions, and these: None stands for those of the poll before."""

    backlog: LogBacklog
    positions: dict[str, Positions | None]


class ChangedTimes(NamedTuple):
    """Times without stamps, the stamps that have changed, and which ones are gone."""

    times: LogTimes
    stamps: dict[Key, Stamps]
    gone: Sequence[Key]


class Giver:
    """The side of the collector's process. One for all tasks of a source."""

    def __init__(self) -> None:
        self._positions: Mapping[str, Positions] = {}
        self._stamps: Mapping[Key, Stamps] = {}

    def shrunk(self, value: Any) -> Any:
        """Return what to hand over. Call `given` with the same value when that was done."""
        if isinstance(value, LogBacklog):
            position = self._positions.get
            return ChangedBacklog(
                replace(value, positions={}),
                {
                    name: None if position(name) == positions else positions
                    for name, positions in value.positions.items()
                },
            )
        if isinstance(value, LogTimes):
            stamp = self._stamps.get
            return ChangedTimes(
                replace(value, stamps={}),
                {key: stamps for key, stamps in value.stamps.items() if stamp(key) is not stamps},
                [key for key in self._stamps if key not in value.stamps],
            )
        return value

    def given(self, value: Any) -> None:
        """Note that this value was handed over."""
        if isinstance(value, LogBacklog):
            self._positions = value.positions
        elif isinstance(value, LogTimes):
            self._stamps = value.stamps


class Taker:
    """The side of the daemon. One for each process."""

    def __init__(self) -> None:
        self._positions: Mapping[str, Positions] = {}
        self._stamps: Mapping[Key, Stamps] = {}

    def whole(self, value: Any) -> Any:
        """Return what was given to `Giver.shrunk`. Unchanged parts are the same objects as before.

        A value that has no such parts is returned as it is.
        """
        if isinstance(value, ChangedBacklog):
            before = self._positions
            self._positions = {
                name: before[name] if positions is None else positions
                for name, positions in value.positions.items()
            }
            return replace(value.backlog, positions=self._positions)
        if isinstance(value, ChangedTimes):
            stamps = {**self._stamps, **value.stamps}
            for key in value.gone:
                del stamps[key]
            self._stamps = stamps
            return replace(value.times, stamps=stamps)
        return value
