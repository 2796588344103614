"""One source at work: its collector's tasks on their schedules, its state, and what it shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import structlog

from exporter.analysis.judging import Judging
from exporter.analysis.log_state import LogState
from exporter.analysis.probes import ProbeState
from exporter.analysis.queue_state import QueueState
from exporter.analysis.rows import PLAIN, Wanted
from exporter.analysis.shown import Family, Shown, View
from exporter.analysis.sources import SourceState, show_source, source_rows
from exporter.analysis.thresholds import ThresholdTable
from exporter.analysis.time_families import show_times
from exporter.config import Source as SourceConfig
from exporter.exposition import Exposition, labeler
from exporter.health import health_families
from exporter.model import (
    Collector,
    Discovery,
    LogBacklog,
    LogTimes,
    Memberships,
    Observation,
    Probes,
    QueueCounts,
    QueueLook,
    Until,
)
from exporter.schedule import Outcome, Runner, Task
from exporter.states import inherited, new_state

NOTHING = Shown((), 0, 0)
BESIDE = ("times", "probes")
"""What is shown beside the backlog, each by itself."""
LOCK_SECONDS = 5.0
"""How long others wait for a task that is taking what it has read; one that takes longer hangs."""
EXPIRY_LOCK_SECONDS = 0.1
"""The same for what has become too old to be shown."""


class _Beside(NamedTuple):
    """What another task than the backlog's shows: since when, and how many series."""

    at: float
    series: int


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
        heir_of: Source | None = None,
    ) -> None:
        """`started` is the daemon's start in Unix time. `heir_of` is the source whose counters go on."""
        self.config = config
        self.collector = collector
        self._exposition = exposition
        self._lock = threading.RLock()
        self._label = labeler({"system": config.system, "source": config.name, **config.labels})
        self.state: SourceState = (
            new_state(config, self._label) if heir_of is None else inherited(heir_of.state, config)
        )
        self.outcomes = {name: Outcome(last_success=started) for name in collector.tasks}
        if heir_of is not None:
            self.outcomes.update(heir_of.outcomes)
        self._probes: ProbeState = (
            heir_of._probes if heir_of is not None else ProbeState(self._label)
        )
        self._judging = Judging(
            config.system, config.name, thresholds or ThresholdTable(), config.hold
        )
        self._view = View(
            hold=config.hold,
            max_series=config.max_series,
            per_partition=getattr(config, "granularity", "partition") == "partition",
        )
        self._shown = NOTHING
        self._shown_at = 0.0
        self._judged_at: float | None = None
        self._restarts: int = 0 if heir_of is None else heir_of.restarts
        self._observed: float | None = heir_of._observed if heir_of is not None else None
        self._visible = False
        self._hidden = False
        self._beside: dict[str, _Beside] = {} if heir_of is None else dict(heir_of._beside)
        if config.probe.enabled is False:
            self._end_probes()
        self._generation = self._deletions()
        self._ended = False
        self._hidden_by_force = False
        self._runners = [
            Runner(self._task(name, run), self.outcomes[name], self._publish_health)
            for name, run in collector.tasks.items()
        ]
        runners = {runner.task.name: runner for runner in self._runners}
        for follower, leader in collector.follows.items():
            runners[leader].leads(runners[follower])
        self._log = structlog.get_logger(__name__).bind(source=config.name)
        self._publish_health()

    def _end_probes(self) -> None:
        """Show none of the probes of the source before: there will be no others."""
        self._probes = ProbeState(self._label)
        self._beside.pop("probes", None)
        self._exposition.remove(self._key("probes"))

    def set_thresholds(self, table: ThresholdTable) -> bool:
        """Judge by another table from the next poll on; tell whether that could be arranged."""
        with self._locked(LOCK_SECONDS) as held:
            if held:
                self._judging.set_table(table)
                self._publish_health()
        return held

    def start(self) -> None:
        """Run the tasks from now on."""
        for runner in self._runners:
            runner.start()

    def run_once(self) -> None:
        """Run each task once, in the order in which the collector names them, the backlog in any case.

        Where one can't reach the source, the others would only wait for the same.
        """
        for runner in self._runners:
            runner.run_once()
            if not runner.outcome.reached and not runner.task.follows:
                break
        backlog = self.outcomes["backlog"]
        if not backlog.runs:
            fault = runner.outcome
            backlog.fail(fault.reason or "internal", fault.message)
            self._publish_health()

    def stop(self, timeout: float = LOCK_SECONDS) -> bool:
        """Ask the tasks to end; nothing is shown of what they still bring.

        Returns whether the state is at rest: a task that hangs while it changes the state may go on to do so.
        """
        for runner in self._runners:
            runner.stop()
        with self._locked(timeout) as held:
            self._ended = True
        return held

    def join(self, timeout: float) -> bool:
        """Wait for the tasks' end and let go of the collector; tell whether all ended in time."""
        until = Until(timeout)
        self.collector.close()
        late = [runner for runner in self._runners if not runner.join(until.remaining())]
        return not late

    def withdraw(self) -> None:
        """Show nothing any more."""
        for key in (self.config.name, self._health_key, *map(self._key, BESIDE)):
            self._exposition.remove(key)

    def faults(self, now: float) -> dict[str, str]:
        """Return which of the tasks' loops do not go on, and what is wrong with them."""
        found = {runner.pulse.name: runner.fault(now) for runner in self._runners}
        return {name: fault for name, fault in found.items() if fault is not None}

    def expire(self) -> None:
        """Hide what is shown once it is older than `hold`; the state is kept.

        Does not depend on the tasks: where one of them hangs while it changes the state, what is shown goes all the same.
        """
        now = time.monotonic()
        if self._ended or not self._outlived(now):
            return
        with self._locked(EXPIRY_LOCK_SECONDS) as held:
            if held:
                self._hide(now)
                return
        for key in self._outlived(now):
            self._exposition.remove(key, self._goes_on)
        if not self._hidden_by_force:
            self._hidden_by_force = True
            self._log.error("source.hidden_by_force", hold_seconds=self.config.hold)

    def _outlived(self, now: float) -> list[str]:
        """Return the exposition's keys of what is too old to be shown. Needs no lock."""
        keys = [
            self._key(name) for name, b in dict(self._beside).items() if self._is_old(b.at, now)
        ]
        if self._visible and self._is_old(self._observed, now):
            keys.append(self.config.name)
        return keys

    def _hide(self, now: float) -> None:
        self._hidden_by_force = False
        keys = self._outlived(now)
        for name in [name for name in self._beside if self._key(name) in keys]:
            del self._beside[name]
        if self.config.name in keys:
            self._visible = False
            self._hidden = True
            self._shown = NOTHING
            self._log.warning("source.hidden", hold_seconds=self.config.hold)
        for key in keys:
            self._exposition.remove(key, self._goes_on)
        if keys:
            self._publish_health()

    def rows(self, wanted: Wanted = PLAIN) -> list[dict[str, Any]]:
        """Return the subscriptions that are shown and wanted, as JSON-ready rows; none where a task hangs.

        The rows hold the values of the metrics page: those of the last update, whenever they are asked for.
        """
        with self._locked(LOCK_SECONDS) as held:
            if not (held and self._visible):
                return []
            at = self._shown_at
            wanted = wanted._replace(clock=wanted.clock - (time.monotonic() - at))
            return source_rows(self.state, self.config, self._view_at(at), at, wanted)

    def status(self) -> dict[str, Any]:
        """Return how the source fares, JSON-ready. Needs no lock: it tells of a task that hangs, too."""
        backlog, observed = self.outcomes["backlog"], self._observed
        now = time.monotonic()
        return {
            "system": self.config.system,
            "source": self.config.name,
            "up": backlog.reached,
            "reason": backlog.reason,
            "message": backlog.message,
            "age_seconds": None if observed is None else round(now - observed, 3),
            "series": self._series(),
            "series_dropped": self._shown.dropped,
            "alarms": [*self.state.alarms, *self.state.notices]
            if isinstance(self.state, QueueState)
            else [],
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

    def _goes_on(self) -> bool:
        return not self._ended

    @property
    def restarts(self) -> int:
        """How often the collector's process was replaced, those of the sources before included."""
        return self._restarts + int(getattr(self.collector, "restarts", 0))

    @property
    def tried(self) -> bool:
        """Whether each task that goes by the clock has run once."""
        follows = self.collector.follows
        return all(outcome.runs for name, outcome in self.outcomes.items() if name not in follows)

    @property
    def _health_key(self) -> str:
        return self._key("health")

    def _key(self, part: str) -> str:
        """Return the exposition's key for a part of what this source shows; no source has a name like it."""
        return f"{self.config.name}\n{part}"

    def _series(self) -> int:
        return self._shown.series + sum(beside.series for beside in dict(self._beside).values())

    def _task(self, name: str, run: Callable[..., Observation]) -> Task:
        return Task(
            source=self.config.name,
            name=name,
            interval=getattr(self.config.schedule, name),
            deadline=self.config.deadline,
            run=run,
            accept=self._accept,
            due_early=lambda: self.collector.due_early(name),
            early_after=getattr(self.collector, "early_after", {}).get(name, 0.0),
            follows=name in self.collector.follows,
            grace=getattr(self.collector, "grace", 0.0),
        )

    def _accept(self, observation: Observation) -> None:
        now = time.monotonic()
        with self._lock:
            if self._ended:
                return
            if isinstance(observation, Probes):
                self._probes.take(observation, now)
                self._show_beside("probes", self._probes.families(), now)
            elif isinstance(self.state, LogState):
                self._accept_log(self.state, observation, now)
            else:
                self._accept_queues(self.state, observation, now)

    def _accept_queues(self, state: QueueState, observation: Observation, now: float) -> None:
        if isinstance(observation, QueueLook):
            state.observe(observation)
            self._judging.judge(state, observation.at, time.time() - now + observation.at)
            self._observed, self._judged_at = now, observation.at
        elif isinstance(observation, QueueCounts):
            state.count(observation)
        if self._is_fresh():
            self._show(now)

    def _accept_log(self, state: LogState, observation: Observation, now: float) -> None:
        if isinstance(observation, Discovery):
            state.retention(observation.retention)
        elif isinstance(observation, LogTimes):
            state.times(observation, now, self.config.hold)
            if self._observed is not None and self._is_fresh():
                # Held from the positions on: those that the times belong to.
                self._show_times(state, self._observed)
        elif isinstance(observation, LogBacklog | Memberships):
            self._accept_backlog(state, observation, now)

    def _accept_backlog(
        self, state: LogState, observation: LogBacklog | Memberships, now: float
    ) -> None:
        if isinstance(observation, LogBacklog):
            state.observe(observation, now)
            self._judging.judge(state, now, time.time())
            self._observed = self._judged_at = now
        else:
            state.members(observation, now)
        if self._is_fresh():
            self._show(now)
            times = self._beside.get("times")
            if times is not None and self._generation != self._deletions():
                # What is gone is gone at once, whenever the next look at the time may be.
                self._show_times(state, times.at)

    def _show(self, now: float) -> None:
        self._shown = show_source(self.state, self._view_at(now), now)
        if self._hidden:
            self._hidden = False
            self._log.info("source.shown_again")
        self._shown_at = now
        self._visible = True
        self._exposition.update(self.config.name, self._shown.families, self._goes_on)

    def _view_at(self, now: float) -> View:
        """Return a view in which values expire when they are judged, not between two looks.

        A value that is too old and the status that depends on it change in the same update.
        """
        since = 0.0 if self._judged_at is None else max(0.0, now - self._judged_at)
        return replace(self._view, hold=self._view.hold + since)

    def _deletions(self) -> int:
        """Return a number that grows whenever a subscription is gone whose ages are shown beside it."""
        return self.state.generation if isinstance(self.state, LogState) else 0

    def _show_times(self, state: LogState, at: float) -> None:
        self._generation = self._deletions()
        self._show_beside("times", show_times(state, self._view), at)

    def _show_beside(self, part: str, families: Sequence[Family], at: float) -> None:
        """Show what comes from a task other than the backlog's; it is held by itself from `at` on."""
        self._beside[part] = _Beside(at, sum(len(family.labels) for family in families))
        self._exposition.update(self._key(part), families, self._goes_on)

    def _probe_seconds(self) -> float | None:
        """Return what the probes are compared with; None where there are none."""
        return None if self.config.probe.enabled is False else self._judging.probe_seconds

    def _is_fresh(self) -> bool:
        return self._observed is not None and not self._is_old(self._observed, time.monotonic())

    def _is_old(self, at: float | None, now: float) -> bool:
        return at is not None and now - at > self.config.hold

    def _publish_health(self) -> None:
        with self._lock:
            if not self._ended:
                families = health_families(
                    self._label,
                    self.outcomes,
                    self.state.nodes,
                    series=self._series(),
                    dropped=self._shown.dropped,
                    restarts=self.restarts,
                    probe_seconds=self._probe_seconds(),
                )
                self._exposition.update(self._health_key, families, self._goes_on)
