"""The state of a queue source, as the source uses it (`state.SourceState`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from exporter.analysis.families import Family, Shown, View
from exporter.analysis.queues.evidence import queue_evidence
from exporter.analysis.queues.rows import queue_rows
from exporter.analysis.queues.series import show_queues
from exporter.analysis.queues.state import QueueState
from exporter.analysis.queues.subscription import QueueSubscription
from exporter.analysis.rows import PLAIN, Named, Wanted
from exporter.analysis.state import NOTHING_CHANGED, Accepted
from exporter.judgement.evidence import Evidence
from exporter.model import Observation, QueueBacklog, QueueCounts


class QueueSourceState(QueueState):
    """Queues. Their ages are part of the backlog."""

    generation = 0

    @property
    def warnings(self) -> Sequence[str]:
        """Alarms and notices of the brokers."""
        return [*self.alarms, *self.notices]

    @property
    def judged(self) -> Iterator[QueueSubscription]:
        """The subscriptions that are judged."""
        return iter(self.subscriptions.values())

    def accept(self, observation: Observation, now: float, hold: float) -> Accepted:  # noqa: ARG002 - the protocol's
        """Add an observation."""
        if isinstance(observation, QueueBacklog):
            self.observe(observation)
            return Accepted(backlog=True, read_at=observation.at)
        if isinstance(observation, QueueCounts):
            self.observe_counts(observation)
            return Accepted(backlog=True)
        return NOTHING_CHANGED

    def evidence(
        self, now: float, clock: float, hold: float
    ) -> Iterator[tuple[QueueSubscription, Evidence]]:
        """Return the facts about each subscription read at `now`; `clock` is that Unix time."""
        return queue_evidence(self, now, clock, hold)

    def show(self, view: View, now: float) -> Shown:
        """Return the series of the backlog, ages included."""
        return show_queues(self, view, now)

    def show_ages(self, view: View) -> Sequence[Family]:  # noqa: ARG002 - the protocol's
        """Return nothing: `show` includes the ages."""
        return ()

    def rows(
        self, source: Named, view: View, now: float, wanted: Wanted = PLAIN
    ) -> list[dict[str, Any]]:
        """Return a JSON-ready row for each exposed subscription that `wanted` includes."""
        return queue_rows(self, source, view, now, wanted)
