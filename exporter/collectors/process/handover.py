"""Hands the positions of a backlog over to the daemon without those that have not changed.

Most groups of a large cluster do not move between two polls, and pickling their positions costs as
much as everything else that is handed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from exporter.model import LogBacklog, Positions


class ChangedBacklog(NamedTuple):
    """A backlog without positions, and these: None stands for those of the poll before."""

    backlog: LogBacklog
    positions: dict[str, Positions | None]


class PositionsGiver:
    """The side of the collector's process. One for all polls of a source."""

    def __init__(self) -> None:
        self._given: Mapping[str, Positions] = {}

    def shrunk(self, backlog: LogBacklog) -> ChangedBacklog:
        """Return what to hand over. Call `given` when that was done."""
        before = self._given.get
        return ChangedBacklog(
            replace(backlog, positions={}),
            {
                name: None if before(name) == positions else positions
                for name, positions in backlog.positions.items()
            },
        )

    def given(self, backlog: LogBacklog) -> None:
        """Note that this backlog was handed over."""
        self._given = backlog.positions


class PositionsTaker:
    """The side of the daemon. One for each process."""

    def __init__(self) -> None:
        self._taken: Mapping[str, Positions] = {}

    def whole(self, changed: ChangedBacklog) -> LogBacklog:
        """Return the backlog with all positions. Unchanged ones are the same objects as before."""
        before = self._taken
        self._taken = {
            name: before[name] if positions is None else positions
            for name, positions in changed.positions.items()
        }
        return replace(changed.backlog, positions=self._taken)
