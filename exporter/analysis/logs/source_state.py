"""The state of a log source, as the source uses it (`state.SourceState`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from exporter.analysis.families import Family, Shown, View
from exporter.analysis.logs.evidence import log_evidence
from exporter.analysis.logs.rows import log_rows
from exporter.analysis.logs.series import show
from exporter.analysis.logs.state import LogState
from exporter.analysis.logs.subscription import LogSubscription
from exporter.analysis.logs.time_series import show_times
from exporter.analysis.rows import PLAIN, Named, Wanted
from exporter.analysis.state import NOTHING_CHANGED, Accepted
from exporter.judgement.evidence import Evidence
from exporter.model import Discovery, LogBacklog, LogTimes, Memberships, Observation


class LogSourceState(LogState):
    """Logs. Their ages come from a separate task, after the backlog."""

    warnings: Sequence[str] = ()

    @property
    def judged(self) -> Iterator[LogSubscription]:
        """The subscriptions that are judged."""
        return iter(self.subscriptions.values())

    def accept(self, observation: Observation, now: float, hold: float) -> Accepted:
        """Add an observation. An unknown age keeps its last value for `hold` seconds."""
        if isinstance(observation, Discovery):
            self.set_retention(observation.retention)
            return NOTHING_CHANGED
        if isinstance(observation, LogTimes):
            self.observe_times(observation, now, hold)
            return Accepted(ages=True)
        if isinstance(observation, Memberships):
            if not observation.groups:
                return NOTHING_CHANGED
            self.observe_members(observation, now)
            return Accepted(backlog=True)
        if isinstance(observation, LogBacklog):
            self.observe(observation, now)
            return Accepted(backlog=True, read_at=now)
        return NOTHING_CHANGED

    def evidence(
        self, now: float, clock: float, hold: float
    ) -> Iterator[tuple[LogSubscription, Evidence]]:
        """Return the facts about each subscription read at `now`; `clock` is that Unix time."""
        return log_evidence(self, now, clock, hold)

    def show(self, view: View, now: float) -> Shown:
        """Return the series of the backlog."""
        return show(self, view, now)

    def show_ages(self, view: View) -> Sequence[Family]:
        """Return the series of the ages and latencies."""
        return show_times(self, view)

    def rows(
        self, source: Named, view: View, now: float, wanted: Wanted = PLAIN
    ) -> list[dict[str, Any]]:
        """Return a JSON-ready row for each exposed subscription that `wanted` includes."""
        return log_rows(self, source, view, now, wanted)
