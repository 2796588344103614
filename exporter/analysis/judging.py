"""Judges every subscription of a source after each poll of the backlog."""

from __future__ import annotations

from exporter.analysis.families import with_label
from exporter.analysis.history import Point
from exporter.analysis.scaling import Scaling
from exporter.analysis.state import SourceState, Subscription
from exporter.judgement.commit_gaps import STOP_SECONDS
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import STATUSES
from exporter.scaling.policy import PolicyTable


class Judging:
    """Judges the subscriptions of one source, with one table of thresholds."""

    def __init__(
        self,
        system: str,
        source: str,
        table: ThresholdTable,
        hold: float = 120.0,
        scaling: Scaling | None = None,
    ) -> None:
        """`hold` is for how many seconds the last value of an unreadable number is used.

        `scaling` advises after each judgement.
        """
        self._names = (system, source)
        self._hold = hold
        self._table = table
        self._scaling = scaling or Scaling(system, source, PolicyTable())
        self._stale = True

    def set_table(self, table: ThresholdTable) -> None:
        """Use other thresholds from the next poll."""
        self._table = table
        self._stale = True

    @property
    def probe_seconds(self) -> float | None:
        """The threshold of the source's probes; None if switched off."""
        return self._table.of_source(*self._names).probe_seconds

    def judge(self, state: SourceState, now: float, clock: float) -> None:
        """Judge the subscriptions that were read at `now`; `clock` is that Unix time."""
        self._scaling.begin(state.judged, now)
        for subscription in state.judged:
            if self._stale or not subscription.judge.labels:
                self._prepare(subscription)
        for subscription, evidence in state.evidence(now, clock, self._hold):
            judge = subscription.judge
            judge.observe(evidence, judge.thresholds, state.rate_window)
            self._scaling.observe(subscription, evidence)
            point = Point(
                evidence.lag, evidence.age, evidence.produced_rate, evidence.consumed_rate
            )
            subscription.history.observe(evidence.at, point)
        self._stale = False

    def _prepare(self, subscription: Subscription) -> None:
        judge = subscription.judge
        judge.wake()
        found = self._table.of_subscription(
            *self._names, subscription.vhost, subscription.destination, subscription.group
        )
        judge.thresholds = found
        subscription.commit_gaps.configured = found.stop_seconds or STOP_SECONDS
        if not judge.labels:
            judge.labels = tuple(
                with_label(subscription.label, "status", status) for status in STATUSES
            )
