"""What a source exposes, and how old it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from exporter.analysis.families import Family, Shown, count_series
from exporter.show.exposition import Exposition

NOTHING = Shown((), 0, 0)


class TaskSeries(NamedTuple):
    """The series of a task other than the backlog's: the time they count from, and their number."""

    at: float
    series: int


class Display:
    """Updates the exposition for one source, and hides what is older than `hold`.

    Not thread-safe, except `outdated`, `hide_by_force` and `series`: the owner holds a lock around
    each call.
    """

    def __init__(
        self,
        name: str,
        hold: float,
        exposition: Exposition,
        is_live: Callable[[], bool],
        carried: Iterable[tuple[str, TaskSeries]] = (),
    ) -> None:
        """`is_live` returns whether the source still runs; `carried` is from its predecessor."""
        self.shown = NOTHING
        """The series of the backlog."""
        self.shown_at = 0.0
        self.visible = False
        """Whether the backlog is exposed."""
        self.observed: float | None = None
        """When the backlog was last read."""
        self.sections: dict[str, TaskSeries] = dict(carried)
        """What is exposed besides the backlog, by name."""
        self._name = name
        self._hold = hold
        self._exposition = exposition
        self._is_live = is_live
        self._was_hidden = False
        self._forced = threading.Event()
        self._log = structlog.get_logger(__name__).bind(source=name)

    @property
    def series(self) -> int:
        """Number of exposed series."""
        return self.shown.series + sum(each.series for each in dict(self.sections).values())

    def key(self, section: str) -> str:
        """Return the exposition's key of a section. It cannot be the name of a source."""
        return f"{self._name}\n{section}"

    def show(self, shown: Shown, now: float) -> None:
        """Expose the backlog."""
        self.shown, self.shown_at = shown, now
        if self._was_hidden:
            self._was_hidden = False
            self._log.info("source.shown_again")
        self.visible = True
        self._exposition.update(self._name, shown.families, self._is_live)

    def show_section(self, name: str, families: Sequence[Family], at: float) -> None:
        """Expose the series of a task other than the backlog's. Their age counts from `at`."""
        self.sections[name] = TaskSeries(at, count_series(families))
        self.show_unaged(name, families)

    def show_unaged(self, name: str, families: Sequence[Family]) -> None:
        """Expose a section that never becomes too old."""
        self._exposition.update(self.key(name), families, self._is_live)

    def drop(self, name: str) -> None:
        """Remove a section."""
        self.sections.pop(name, None)
        self._exposition.remove(self.key(name))

    def withdraw(self, sections: Iterable[str]) -> None:
        """Remove everything: the backlog and these sections."""
        for key in (self._name, *map(self.key, sections)):
            self._exposition.remove(key)

    def is_fresh(self, now: float) -> bool:
        """Return whether the backlog was read at most `hold` seconds ago."""
        return self.observed is not None and not self._is_old(self.observed, now)

    def outdated(self, now: float) -> list[str]:
        """Return the exposition's keys of everything that is too old. Needs no lock."""
        sections = dict(self.sections)
        keys = [self.key(name) for name, each in sections.items() if self._is_old(each.at, now)]
        if self.visible and self._is_old(self.observed, now):
            keys.append(self._name)
        return keys

    def hide(self, now: float) -> bool:
        """Hide what is too old; return whether anything was."""
        self._forced.clear()
        keys = self.outdated(now)
        for name in [name for name in self.sections if self.key(name) in keys]:
            del self.sections[name]
        if self._name in keys:
            self.visible = False
            self._was_hidden = True
            self.shown = NOTHING
            self._log.warning("source.hidden", hold_seconds=self._hold)
        for key in keys:
            self._exposition.remove(key, self._is_live)
        return bool(keys)

    def hide_by_force(self, now: float) -> None:
        """Hide what is too old without the lock, which a stuck task holds."""
        for key in self.outdated(now):
            self._exposition.remove(key, self._is_live)
        if not self._forced.is_set():
            self._forced.set()
            self._log.error("source.hidden_by_force", hold_seconds=self._hold)

    def _is_old(self, at: float | None, now: float) -> bool:
        return at is not None and now - at > self._hold
