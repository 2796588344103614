"""What a source shows in the exposition, and since when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from exporter.analysis.families import Family, Shown, count_series
from exporter.show.exposition import Exposition

NOTHING = Shown((), 0, 0)


class Shelf(NamedTuple):
    """What a task other than the backlog's shows: since when, and how many series."""

    at: float
    series: int


class Display:
    """Keeps the exposition up to date with one source, and hides what is older than `hold`.

    Not thread-safe but for `outdated`, `hide_by_force` and `series`: its owner holds a lock around each call.
    """

    def __init__(
        self,
        name: str,
        hold: float,
        exposition: Exposition,
        is_live: Callable[[], bool],
        carried: Iterable[tuple[str, Shelf]] = (),
    ) -> None:
        """`is_live` says whether the source still shows something; `carried` is what its predecessor shows."""
        self.shown = NOTHING
        """The backlog."""
        self.shown_at = 0.0
        self.visible = False
        """Whether the backlog is shown."""
        self.observed: float | None = None
        """When the backlog was last read."""
        self.shelves: dict[str, Shelf] = dict(carried)
        """What is shown beside the backlog, by its name."""
        self._name = name
        self._hold = hold
        self._exposition = exposition
        self._is_live = is_live
        self._was_hidden = False
        self._forced = threading.Event()
        self._log = structlog.get_logger(__name__).bind(source=name)

    @property
    def series(self) -> int:
        """How many series are shown."""
        return self.shown.series + sum(shelf.series for shelf in dict(self.shelves).values())

    def key(self, part: str) -> str:
        """Return the exposition's key for a part of what the source shows; no source has a name like it."""
        return f"{self._name}\n{part}"

    def show(self, shown: Shown, now: float) -> None:
        """Show the backlog."""
        self.shown, self.shown_at = shown, now
        if self._was_hidden:
            self._was_hidden = False
            self._log.info("source.shown_again")
        self.visible = True
        self._exposition.update(self._name, shown.families, self._is_live)

    def show_beside(self, part: str, families: Sequence[Family], at: float) -> None:
        """Show what comes from a task other than the backlog's; its age counts from `at` on."""
        self.shelves[part] = Shelf(at, count_series(families))
        self.show_unaged(part, families)

    def show_unaged(self, part: str, families: Sequence[Family]) -> None:
        """Show a part that does not grow too old."""
        self._exposition.update(self.key(part), families, self._is_live)

    def drop(self, part: str) -> None:
        """Show a part no longer."""
        self.shelves.pop(part, None)
        self._exposition.remove(self.key(part))

    def withdraw(self, parts: Iterable[str]) -> None:
        """Show nothing any more: neither the backlog nor the parts."""
        for key in (self._name, *map(self.key, parts)):
            self._exposition.remove(key)

    def is_fresh(self, now: float) -> bool:
        """Whether the backlog was read, and not too long ago to be shown."""
        return self.observed is not None and not self._is_old(self.observed, now)

    def outdated(self, now: float) -> list[str]:
        """Return the exposition's keys of what is too old to be shown. Needs no lock."""
        shelves = dict(self.shelves)
        keys = [self.key(name) for name, shelf in shelves.items() if self._is_old(shelf.at, now)]
        if self.visible and self._is_old(self.observed, now):
            keys.append(self._name)
        return keys

    def hide(self, now: float) -> bool:
        """Hide what is too old; tell whether anything was."""
        self._forced.clear()
        keys = self.outdated(now)
        for name in [name for name in self.shelves if self.key(name) in keys]:
            del self.shelves[name]
        if self._name in keys:
            self.visible = False
            self._was_hidden = True
            self.shown = NOTHING
            self._log.warning("source.hidden", hold_seconds=self._hold)
        for key in keys:
            self._exposition.remove(key, self._is_live)
        return bool(keys)

    def hide_by_force(self, now: float) -> None:
        """Take what is too old out of the exposition, without the lock that a stuck task holds."""
        for key in self.outdated(now):
            self._exposition.remove(key, self._is_live)
        if not self._forced.is_set():
            self._forced.set()
            self._log.error("source.hidden_by_force", hold_seconds=self._hold)

    def _is_old(self, at: float | None, now: float) -> bool:
        return at is not None and now - at > self._hold
