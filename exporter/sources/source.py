"""One running source: its tasks, its state, and what it exposes."""

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
from exporter.analysis.scaling import Scaling
from exporter.analysis.state import SourceState
from exporter.config import SourceConfig
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import Collector, Observation, Probes
from exporter.scaling.advisor import Memory
from exporter.scaling.board import AdviceBoard, SubscriptionName
from exporter.scaling.policy import PolicyTable
from exporter.show.exposition import Exposition, labeler
from exporter.sources.advice import AdviceDisplay, memories_of
from exporter.sources.display import Display, TaskSeries
from exporter.sources.from_config import new_state, reconfigure
from exporter.sources.health import health_families
from exporter.sources.health_rows import health_rows, status_row
from exporter.sources.schedule import Outcome
from exporter.sources.tasks import Tasks

AGES, PROBES, HEALTH, ADVICE = "times", "probes", "health", "advice"
"""Sections that are exposed besides the backlog."""
LOCK_SECONDS = 5.0
"""Seconds to wait for a task that is changing the state. A task that takes longer hangs."""
EXPIRY_LOCK_SECONDS = 0.1
"""The same when hiding what is too old."""


@contextmanager
def acquired(lock: threading.RLock, seconds: float) -> Iterator[bool]:
    """Try to acquire the lock within `seconds`; yield whether it was acquired."""
    success = lock.acquire(timeout=seconds)
    try:
        yield success
    finally:
        if success:
            lock.release()


@dataclass(frozen=True, slots=True)
class Carried:
    """What a reload passes on from a source to its replacement, so that counters continue."""

    state: SourceState
    outcomes: Mapping[str, Outcome]
    probes: ProbeState
    observed: float | None
    """When the backlog was last read."""
    sections: Mapping[str, TaskSeries]
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
        scaling: Scaling | None = None,
        board: AdviceBoard | None = None,
        carried: Carried | None = None,
    ) -> None:
        """`started` is the Unix time at which the daemon started.

        `board` gets the scaling advice.
        """
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
        self._scaling = scaling or Scaling(config.system, config.name, PolicyTable())
        self._judging = Judging(
            config.system,
            config.name,
            thresholds or ThresholdTable(),
            config.hold,
            self._scaling,
        )
        self._judged_at: float | None = None
        self._view = View(
            hold=config.hold,
            max_series=config.max_series,
            per_partition=config.per_partition,
        )
        self._display = Display(
            config.name, config.hold, exposition, lambda: not self._ended, carried.sections.items()
        )
        self._display.observed = carried.observed
        self._advice = AdviceDisplay(
            config,
            self._scaling,
            board or AdviceBoard(),
            lambda families: self._display.show_unaged(ADVICE, families),
        )
        if config.probe.enabled is False:
            self._drop_probes()
        self._generation = self.state.generation
        self._tasks = Tasks(
            config, collector, self.outcomes, accept=self._accept, after=self._publish_health
        )
        self._publish_health()

    def carried(self) -> Carried:
        """Return what the replacement of this source takes over."""
        return Carried(
            self.state,
            self.outcomes,
            self._probes,
            self._display.observed,
            self._display.sections,
            self.restarts,
        )

    def _drop_probes(self) -> None:
        """Remove the probes of the replaced source, because this one does not probe."""
        self._probes = ProbeState(self._label)
        self._display.drop(PROBES)

    def set_tables(self, thresholds: ThresholdTable, policies: PolicyTable) -> bool:
        """Use other tables from the next poll; return False if a task hangs and prevents it."""
        with acquired(self._lock, LOCK_SECONDS) as locked:
            if locked:
                self._judging.set_table(thresholds)
                self._scaling.set_table(policies)
                self._publish_health()
        return locked

    def start(self) -> None:
        """Start the tasks."""
        self._tasks.start()

    def run_once(self) -> None:
        """Run each task once, in the collector's order, and the backlog in any case.

        If a task cannot reach the source, the remaining ones are skipped: they would wait, too.
        """
        self._tasks.run_once()

    def stop(self, timeout: float = LOCK_SECONDS) -> bool:
        """Stop the tasks. What they still return is ignored.

        Returns whether nothing changes the state any more. A task that hangs while it changes the
        state may continue.
        """
        self._tasks.stop()
        with acquired(self._lock, timeout) as locked:
            self._ended = True
        return locked

    def join(self, timeout: float) -> bool:
        """Wait for the tasks to end and close the collector; return whether all ended in time."""
        return self._tasks.join(timeout)

    def withdraw(self) -> None:
        """Remove everything from the exposition."""
        self._display.withdraw((HEALTH, AGES, PROBES, ADVICE))
        self._advice.withdraw()

    def faults(self, now: float) -> dict[str, str]:
        """Return the task loops that are stuck, with what is wrong."""
        return self._tasks.faults(now)

    def expire(self) -> None:
        """Hide what is older than `hold`, even if a task hangs while it changes the state."""
        now = time.monotonic()
        if self._ended:
            return
        if self._advice.is_due(now):
            self._expire_advice(now)
        if not self._display.outdated(now):
            return
        with acquired(self._lock, EXPIRY_LOCK_SECONDS) as locked:
            if locked:
                if self._display.hide(now):
                    self._publish_health()
                return
        self._display.hide_by_force(now)

    def rows(self, wanted: Wanted = PLAIN) -> list[dict[str, Any]]:
        """Return the exposed subscriptions that `wanted` includes, as JSON-ready rows.

        Empty if a task hangs. The values are those of `/metrics`, from the last update. With
        `wanted.stale`, the rows of a hidden source are its last values.
        """
        with acquired(self._lock, LOCK_SECONDS) as locked:
            observed, visible = self._display.observed, self._display.visible
            if not locked or observed is None or not (visible or wanted.stale):
                return []
            # After a reload, nothing was shown yet of what the previous source has read.
            at, now = self._display.shown_at or observed, time.monotonic()
            valid = self._advice.valid.seconds - (now - at)  # the rows are those of `at`
            wanted = wanted._replace(clock=wanted.clock - (now - at), advice_seconds=valid)
            rows = self.state.rows(self.config, self._view_at(at), at, wanted)
            stale = not (visible and self.outcomes["backlog"].reached)
            for row in rows:
                row.update(stale=stale, values_age_seconds=round(now - observed, 3))
            return rows

    def status(self, *, health: bool = False) -> dict[str, Any]:
        """Return the source's status, JSON-ready. Needs no lock, so it works if a task hangs.

        With `health`, it includes nodes, probes and tasks.
        """
        found = status_row(self.config, self.outcomes["backlog"], self._display, time.monotonic())
        found["alarms"] = list(self.state.warnings)
        if health:
            found |= health_rows(self.outcomes, self.state.nodes, self._probes.nodes)
        return found

    @property
    def restarts(self) -> int:
        """How often the collector's process was restarted, including those of replaced sources."""
        return self._restarts + int(getattr(self.collector, "restarts", 0))

    @property
    def tried(self) -> bool:
        """Whether each task that runs by the clock has run at least once."""
        return self._tasks.tried

    def _accept(self, observation: Observation) -> None:
        with self._lock:
            now = time.monotonic()  # in the order in which observations are added
            if self._ended:
                return
            if isinstance(observation, Probes):
                self._probes.observe(observation, now)
                self._display.show_section(PROBES, self._probes.families(), now)
                return
            accepted = self.state.accept(observation, now, self.config.hold)
            if accepted.read_at is not None:
                clock = time.time() - now + accepted.read_at
                self._judging.judge(self.state, accepted.read_at, clock)
                self._display.observed, self._judged_at = now, accepted.read_at
                self._advice.show(self.state, now)
            if not self._display.is_fresh(time.monotonic()):
                return
            if accepted.backlog:
                self._display.show(self.state.show(self._view_at(now), now), now)
            self._show_ages(changed=accepted.ages)

    def _show_ages(self, *, changed: bool) -> None:
        """Expose the ages of a separate task, if they changed or subscriptions were dropped."""
        ages, observed = self._display.sections.get(AGES), self._display.observed
        if changed and observed is not None:
            at = observed  # ages expire together with the positions that they belong to
        elif ages is not None and self._generation != self.state.generation:
            at = ages.at
        else:
            return
        self._generation = self.state.generation
        self._display.show_section(AGES, self.state.show_ages(self._view), at)

    def _expire_advice(self, now: float) -> None:
        with acquired(self._lock, EXPIRY_LOCK_SECONDS) as locked:
            if locked:
                self._advice.show(self.state, now)

    def memories(self, now: float) -> dict[SubscriptionName, Memory]:
        """Return what the scaling advice has learned; empty if a task hangs."""
        with acquired(self._lock, EXPIRY_LOCK_SECONDS) as locked:
            return memories_of(self.state, now) if locked else {}

    def _view_at(self, now: float) -> View:
        """Return a view in which values expire when they are judged, not between two polls.

        So a value that is too old disappears in the same update as the status that depends on it.
        """
        since = 0.0 if self._judged_at is None else max(0.0, now - self._judged_at)
        return replace(self._view, hold=self._view.hold + since)

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
                    probe_seconds=(
                        None if self.config.probe.enabled is False else self._judging.probe_seconds
                    ),
                )
                self._display.show_unaged(HEALTH, families)
