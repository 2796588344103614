"""One source at work: its collector's tasks on their schedules, its state, and what it shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from exporter.analysis.families import Shown, View, show
from exporter.analysis.log_state import LogState
from exporter.analysis.rows import rows
from exporter.config import KafkaSource
from exporter.exposition import Exposition, labeler
from exporter.health import health_families
from exporter.model import Collector, LogBacklog, Memberships, Observation, Until
from exporter.schedule import Outcome, Runner, Task

NOTHING = Shown((), 0, 0)


class Source:
    """Collects one source and keeps the exposition up to date with it."""

    def __init__(
        self,
        config: KafkaSource,
        collector: Collector,
        exposition: Exposition,
        *,
        started: float,
        heir_of: Source | None = None,
    ) -> None:
        """`started` is the daemon's start in Unix time. `heir_of` is the source whose counters go on."""
        self.config = config
        self.collector = collector
        self._exposition = exposition
        self._lock = threading.RLock()
        self._label = labeler({"system": config.system, "source": config.name, **config.labels})
        self.state = self._inherit(heir_of)
        self.outcomes = {name: Outcome(last_success=started) for name in collector.tasks}
        if heir_of is not None:
            self.outcomes.update(heir_of.outcomes)
        self._view = View(
            hold=config.hold,
            max_series=config.max_series,
            per_partition=config.granularity == "partition",
        )
        self._shown = NOTHING
        self._observed: float | None = heir_of._observed if heir_of is not None else None
        self._visible = False
        self._ended = False
        self._runners = [
            Runner(self._task(name, run), self.outcomes[name], self._publish_health)
            for name, run in collector.tasks.items()
        ]
        self._log = structlog.get_logger(__name__).bind(source=config.name)
        self._publish_health()

    def _inherit(self, other: Source | None) -> LogState:
        if other is None:
            return LogState(self._label, self.config.rate_window)
        other.state.set_rate_window(self.config.rate_window)
        other.state.reselect()
        return other.state

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
            if not runner.outcome.reached:
                break
        backlog = self.outcomes["backlog"]
        if not backlog.runs:
            fault = runner.outcome
            backlog.fail(fault.reason or "internal", fault.message)
            self._publish_health()

    def stop(self) -> None:
        """Ask the tasks to end; nothing is shown of what they still bring."""
        for runner in self._runners:
            runner.stop()
        with self._lock:
            self._ended = True

    def join(self, timeout: float) -> bool:
        """Wait for the tasks' end and let go of the collector; tell whether all ended in time."""
        until = Until(timeout)
        self.collector.close()
        late = [runner for runner in self._runners if not runner.join(until.remaining())]
        return not late

    def withdraw(self) -> None:
        """Show nothing any more."""
        self._exposition.remove(self.config.name)
        self._exposition.remove(self._health_key)

    def expire(self) -> None:
        """Hide what is shown once it is older than `hold`; the state is kept."""
        with self._lock:
            if self._visible and not self._is_fresh():
                self._visible = False
                self._shown = NOTHING
                self._exposition.remove(self.config.name)
                self._publish_health()
                self._log.warning("source.hidden", hold_seconds=self.config.hold)

    def rows(self, *, partitions: bool = False) -> list[dict[str, Any]]:
        """Return the subscriptions that are shown, as JSON-ready rows, with their partitions where wanted."""
        with self._lock:
            if not self._visible:
                return []
            now = time.monotonic()
            return rows(self.state, self.config, self._view, now, partitions=partitions)

    def status(self) -> dict[str, Any]:
        """Return how the source fares, JSON-ready."""
        backlog = self.outcomes["backlog"]
        with self._lock:
            return {
                "system": self.config.system,
                "source": self.config.name,
                "up": backlog.reached,
                "reason": backlog.reason,
                "message": backlog.message,
                "age_seconds": None
                if self._observed is None
                else round(time.monotonic() - self._observed, 3),
                "series": self._shown.series,
                "series_dropped": self._shown.dropped,
            }

    @property
    def tried(self) -> bool:
        """Whether each task has run once."""
        return all(outcome.runs for outcome in self.outcomes.values())

    @property
    def _health_key(self) -> str:
        return f"{self.config.name}\n"

    def _task(self, name: str, run: Callable[..., Observation]) -> Task:
        return Task(
            source=self.config.name,
            name=name,
            interval=getattr(self.config.schedule, name),
            deadline=self.config.deadline,
            run=run,
            accept=self._accept,
            due_early=lambda: self.collector.due_early(name),
        )

    def _accept(self, observation: Observation) -> None:
        now = time.monotonic()
        with self._lock:
            if self._ended:
                return
            if isinstance(observation, LogBacklog):
                self.state.observe(observation, now)
                self._observed = now
            elif isinstance(observation, Memberships):
                self.state.members(observation, now)
            else:
                return
            if self._is_fresh():
                self._shown = show(self.state, self._view, now)
                self._visible = True
                self._exposition.update(self.config.name, self._shown.families)

    def _is_fresh(self) -> bool:
        return self._observed is not None and time.monotonic() - self._observed <= self.config.hold

    def _publish_health(self) -> None:
        with self._lock:
            if not self._ended:
                families = health_families(
                    self._label, self.outcomes, self.state.nodes, self._shown
                )
                self._exposition.update(self._health_key, families)


def same_place(before: KafkaSource, after: KafkaSource) -> bool:
    """Tell whether the counters of one may go on in the other: the same cluster, shown under the same labels."""
    fields = ("system", "name", "bootstrap_servers", "labels")
    return all(getattr(before, field) == getattr(after, field) for field in fields)
