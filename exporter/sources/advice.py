"""Exposes a source's scaling advice, marks what is outdated, and logs what changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from exporter.analysis.families import Family
from exporter.analysis.scaled import Scaled
from exporter.analysis.scaling import (
    Scaling,
    Validity,
    published,
    scaling_families,
)
from exporter.analysis.state import SourceState
from exporter.config import SourceConfig
from exporter.scaling.advisor import Memory
from exporter.scaling.board import AdviceBoard, SubscriptionName

MISSED_POLLS = 3
"""Advice is valid for this many polls of the backlog, and one deadline."""


class AdviceDisplay:
    """The advice of one source. Not thread-safe, except `is_due`: the owner holds a lock."""

    def __init__(
        self,
        config: SourceConfig,
        scaling: Scaling,
        board: AdviceBoard,
        expose: Callable[[Sequence[Family]], None],
    ) -> None:
        self.valid = Validity(MISSED_POLLS * config.schedule.backlog + config.deadline)
        self._name = config.name
        self._scaling = scaling
        self._board = board
        self._expose = expose
        self._due: float | None = None
        """When the exposed advice changes without a poll, on the monotonic clock."""
        self._logged: dict[SubscriptionName, int] = {}
        self._log = structlog.get_logger(__name__).bind(source=config.name)

    def is_due(self, now: float) -> bool:
        """Return whether the exposed advice is outdated."""
        due = self._due
        return due is not None and now >= due

    def show(self, state: SourceState, now: float) -> None:
        """Expose the advice for the subscriptions, and pass it on to who asks for it."""
        if self._scaling.is_off and self._due is None:
            return
        every = _scaled(state)
        self._board.publish(self._name, published(every, self.valid))
        self._expose(scaling_families(every, self.valid, now))
        times = (self.valid.seconds, self.valid.shown_seconds)
        ends = [each.at + after for each in every for after in times]
        self._due = min((end for end in ends if end > now), default=None)
        self._report(every)

    def withdraw(self) -> None:
        """Tell who asks that the source is gone."""
        self._board.withdraw(self._name)

    def _report(self, every: Sequence[Scaled]) -> None:
        """Log each advice that changed."""
        before, self._logged = self._logged, {}
        for each in every:
            if each.advice is None:
                continue
            self._logged[each.place] = each.advice.consumers
            if each.place in before and before[each.place] != each.advice.consumers:
                self._log.info(
                    "scaling.advised",
                    **{name: value for name, value in each.place._asdict().items() if value},
                    consumers=each.advice.consumers,
                    why=each.advice.reason,
                )


def memories_of(state: SourceState, now: float) -> dict[SubscriptionName, Memory]:
    """Return what the advice has learned, by subscription."""
    return {each.place: each.advisor.memory(now) for each in _scaled(state)}


def _scaled(state: SourceState) -> list[Scaled]:
    return [sub.scaled for sub in state.judged if sub.scaled is not None]
