"""Which groups need not be described again: no record of their coordinator says that they changed.

A coordinator writes a record of another kind than a commit whenever the members or the assignment
of a group change. A record that is written after a group was described is read after it, too.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Collection, Iterable, Sequence

from exporter.model import GroupState

AGAIN_SECONDS = (300.0, 600.0)
"""A group is described again after a time between these, in case that something was missed."""
SETTLED: frozenset[GroupState] = frozenset({"stable", "empty"})
"""In other states a group may change without a record."""


class DescribedGroups:
    """Used by the thread that reads the topic and by the one that describes groups."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._followed: Collection[str] = frozenset()
        self._until: dict[str, float] = {}
        """Group to when it is described again, in monotonic seconds."""

    def follow(self, names: Iterable[str]) -> None:
        """Set the groups of which all records have been read so far."""
        followed = frozenset(names)
        with self._lock:
            self._followed = followed
            for name in self._until.keys() - followed:
                del self._until[name]

    def forget(self, names: Iterable[str]) -> None:
        """Describe these groups again."""
        with self._lock:
            for name in names:
                self._until.pop(name, None)

    def due(self, names: Iterable[str], now: float) -> list[str]:
        """Return the groups to describe."""
        with self._lock:
            return [name for name in names if self._until.get(name, now) <= now]

    def begin(self, names: Sequence[str], now: float) -> None:
        """Note that these groups are described, before they are.

        What changes meanwhile is read later, so they are then due again.
        """
        least, most = AGAIN_SECONDS
        with self._lock:
            for name in names:
                if name in self._followed:
                    spread = zlib.crc32(name.encode()) % 1_000 / 1_000
                    self._until[name] = now + least + (most - least) * spread
