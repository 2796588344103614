"""One source at work: what its tasks observe, its state, and what it shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from exporter.analysis.families import View
from exporter.analysis.judging import Judging
from exporter.analysis.probe_results import ProbeState
from exporter.analysis.rows import PLAIN, Wanted
from exporter.analysis.state import SourceState
from exporter.config import SourceConfig
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import Collector, Observation, Probes
from exporter.show.exposition import Exposition, labeler
from exporter.sources.display import Display, Shelf
from exporter.sources.from_config import new_state, reconfigure
from exporter.sources.health import health_families
from exporter.sources.health_rows import health_rows
from exporter.sources.schedule import Outcome
from exporter.sources.tasks import Tasks

AGES, PROBES, HEALTH = "times", "probes", "health"
"""Parts of what is shown, each by itself beside the backlog."""
LOCK_SECONDS = 5.0
"""How long others wait for a task that is taking what it has read; one that takes longer hangs."""
EXPIRY_LOCK_SECONDS = 0.1
"""The same for what has become too old to be shown."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What outlives a source that a reload replaces, so that its counters go on in the next one."""

    state: SourceState
    outcomes: Mapping[str, Outcome]
    probes: ProbeState
    observed: float | None
    """When the backlog was last read."""
    shelves: Mapping[str, Shelf]
    restarts: int


class Source:
    """Collects one source and keeps the exposition up to date with it."""

    def __init__(
        self,
        config: SourceConfig,
        collector: Collector,
        exposition: Exposition,
        *,
        started: float,
        thresholds: ThresholdTable | None = None,
        carried: Carried | None = None,
    ) -> None:
        """`started` is the daemon's start in Unix time."""
        self.config = config
        self.collector = collector
        self._lock = threading.RLock()
        self._ended = False
        self._label = labeler({"system": config.system, "source": config.name, **config.labels})
        if carried is None:
            state = new_state(config, self._label)
            carried = Carried(state, {}, ProbeState(self._label), None, {}, 0)
        else:
            reconfigure(carried.state, config)
        self.state: SourceState = carried.state
        self.outcomes = {name: Outcome(last_success=started) for name in collector.tasks}
        self.outcomes.update(carried.outcomes)
        self._probes = carried.probes
        self._restarts = carried.restarts
        self._judging = Judging(
            config.system, config.name, thresholds or ThresholdTable(), config.hold
        )
        self._judged_at: float | None = None
        self._view = View(
            hold=config.hold,
            max_series=config.max_series,
            per_partition=config.per_partition,
        )
        self._display = Display(
            config.name, config.hold, exposition, self._is_live, carried.shelves.items()
        )
        self._display.observed = carried.observed
        if config.probe.enabled is False:
            self._end_probes()
        self._generation = self.state.generation
        self._tasks = Tasks(
            config, collector, self.outcomes, accept=self._accept, after=self._publish_health
        )
        self._publish_health()

    def carried(self) -> Carried:
        """Return what the source that replaces this one goes on with."""
        return Carried(
            self.state,
            self.outcomes,
            self._probes,
            self._display.observed,
            self._display.shelves,
            self.restarts,
        )

    def _end_probes(self) -> None:
        """Show none of the probes of the source before: there will be no others."""
        self._probes = ProbeState(self._label)
        self._display.drop(PROBES)

    def set_thresholds(self, table: ThresholdTable) -> bool:
        """Judge by another table from the next poll on; tell whether that could be arranged."""
        with self._locked(LOCK_SECONDS) as held:
            if held:
                self._judging.set_table(table)
                self._publish_health()
        return held

    def start(self) -> None:
        """Run the tasks from now on."""
        self._tasks.start()

    def run_once(self) -> None:
        """Run each task once, in the order in which the collector names them, the backlog in any case.

        Where one can't reach the source, the others would only wait for the same.
        """
        self._tasks.run_once()

    def stop(self, timeout: float = LOCK_SECONDS) -> bool:
        """Ask the tasks to end; nothing is shown of what they still bring.

        Returns whether the state is at rest: a task that hangs while it changes the state may go on to do so.
        """
        self._tasks.stop()
        with self._locked(timeout) as held:
            self._ended = True
        return held

    def join(self, timeout: float) -> bool:
        """Wait for the tasks' end and let go of the collector; tell whether all ended in time."""
        return self._tasks.join(timeout)

    def withdraw(self) -> None:
        """Show nothing any more."""
        self._display.withdraw((HEALTH, AGES, PROBES))

    def faults(self, now: float) -> dict[str, str]:
        """Return which of the tasks' loops do not go on, and what is wrong with them."""
        return self._tasks.faults(now)

    def expire(self) -> None:
        """Hide what is shown once it is older than `hold`; the state is kept.

        Does not depend on the tasks: where one of them hangs while it changes the state, what is shown goes all the same.
        """
        now = time.monotonic()
        if self._ended or not self._display.outdated(now):
            return
        with self._locked(EXPIRY_LOCK_SECONDS) as held:
            if held:
                if self._display.hide(now):
                    self._publish_health()
                return
        self._display.hide_by_force(now)

    def rows(self, wanted: Wanted = PLAIN) -> list[dict[str, Any]]:
        """Return the subscriptions that are shown and wanted, as JSON-ready rows; none where a task hangs.

        The rows hold the values of the metrics page: those of the last update, whenever they are asked for.
        If stale ones are wanted, that of a source that is hidden, too.
        """
        with self._locked(LOCK_SECONDS) as held:
            observed, visible = self._display.observed, self._display.visible
            if not held or observed is None or not (visible or wanted.stale):
                return []
            at, now = self._display.shown_at, time.monotonic()
            wanted = wanted._replace(clock=wanted.clock - (now - at))
            rows = self.state.rows(self.config, self._view_at(at), at, wanted)
            stale = not (visible and self.outcomes["backlog"].reached)
            for row in rows:
                row.update(stale=stale, values_age_seconds=round(now - observed, 3))
            return rows

    def status(self, *, health: bool = False) -> dict[str, Any]:
        """Return how the source fares, JSON-ready. Needs no lock: it tells of a task that hangs, too.

        With `health`, the state of its nodes, probes and tasks, too.
        """
        backlog, observed = self.outcomes["backlog"], self._display.observed
        now = time.monotonic()
        found = health_rows(self.outcomes, self.state.nodes, self._probes.nodes) if health else {}
        return {
            **found,
            "system": self.config.system,
            "source": self.config.name,
            "up": backlog.reached,
            "reason": backlog.reason,
            "message": backlog.message,
            "age_seconds": None if observed is None else round(now - observed, 3),
            "series": self._display.series,
            "series_dropped": self._display.shown.dropped,
            "alarms": list(self.state.warnings),
        }

    @contextmanager
    def _locked(self, seconds: float) -> Iterator[bool]:
        """Hold the lock, if it can be had in time; tell whether it is held."""
        held = self._lock.acquire(timeout=seconds)
        try:
            yield held
        finally:
            if held:
                self._lock.release()

    def _is_live(self) -> bool:
        return not self._ended

    @property
    def restarts(self) -> int:
        """How often the collector's process was replaced, those of the sources before included."""
        return self._restarts + int(getattr(self.collector, "restarts", 0))

    @property
    def tried(self) -> bool:
        """Whether each task that goes by the clock has run once."""
        return self._tasks.tried

    def _accept(self, observation: Observation) -> None:
        now = time.monotonic()
        with self._lock:
            if self._ended:
                return
            if isinstance(observation, Probes):
                self._probes.take(observation, now)
                self._display.show_beside(PROBES, self._probes.families(), now)
                return
            accepted = self.state.accept(observation, now, self.config.hold)
            if accepted.read_at is not None:
                clock = time.time() - now + accepted.read_at
                self._judging.judge(self.state, accepted.read_at, clock)
                self._display.observed, self._judged_at = now, accepted.read_at
            if not self._display.is_fresh(time.monotonic()):
                return
            if accepted.backlog:
                self._display.show(self.state.show(self._view_at(now), now), now)
            self._show_ages(changed=accepted.ages)

    def _show_ages(self, *, changed: bool) -> None:
        """Show the ages that another task found, if they changed or subscriptions are gone."""
        ages, observed = self._display.shelves.get(AGES), self._display.observed
        if changed and observed is not None:
            at = observed  # they are held as long as the positions that they belong to
        elif ages is not None and self._generation != self.state.generation:
            at = ages.at
        else:
            return
        self._generation = self.state.generation
        self._display.show_beside(AGES, self.state.show_ages(self._view), at)

    def _view_at(self, now: float) -> View:
        """Return a view in which values expire when they are judged, not between two polls.

        A value that is too old and the status that depends on it change in the same update.
        """
        since = 0.0 if self._judged_at is None else max(0.0, now - self._judged_at)
        return replace(self._view, hold=self._view.hold + since)

    def _probe_seconds(self) -> float | None:
        """Return what the probes are compared with; None where there are none."""
        return None if self.config.probe.enabled is False else self._judging.probe_seconds

    def _publish_health(self) -> None:
        with self._lock:
            if not self._ended:
                families = health_families(
                    self._label,
                    self.outcomes,
                    self.state.nodes,
                    series=self._display.series,
                    dropped=self._display.shown.dropped,
                    restarts=self.restarts,
                    probe_seconds=self._probe_seconds(),
                )
                self._display.show_unaged(HEALTH, families)
