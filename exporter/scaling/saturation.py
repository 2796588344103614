"""Whether more consumers help at all: if not, what they use is the limit, such as a database."""

from __future__ import annotations

import math
from typing import NamedTuple

from exporter.scaling.capacity import ENOUGH
from exporter.scaling.load import Load

GAIN = 0.25
"""A scale-out helped if at least this part of the expected gain was observed."""
FIRST_HOLD = 600.0
"""Seconds for which scaling out is held after it did not help."""
LONGEST_HOLD = 7_200.0
"""The hold doubles each time, up to this."""
SETTLE_SECONDS = 50.0
"""Time after a change until the new rate is known."""
PROBE = 0.25
"""After a hold, the limit is raised by this part, to see whether more consumers help now."""


class Trial(NamedTuple):
    """Consumers that were added, and what was achieved before."""

    last: float
    """When the last of them was added."""
    consumers_before: int
    consumers: int
    rate: float


class Saturation:
    """Compares the throughput before and after consumers were added."""

    __slots__ = ("_base", "_hold", "_trial", "limit", "until")

    def __init__(self) -> None:
        self.limit: int | None = None
        """The number of consumers above which none helped; None if unknown."""
        self.until = 0.0
        """When the limit is raised to try again."""
        self._base: int | None = None
        """The limit before it was raised to try again."""
        self._trial: Trial | None = None
        self._hold = FIRST_HOLD

    def remember(self, limit: int, until: float) -> None:
        """Set a limit that was found before a restart of the exporter."""
        self.limit, self.until = limit, until

    def memory(self, at: float) -> tuple[int | None, float]:
        """Return the limit, or the one before while it is tried, and for how long it holds."""
        if self._base is not None:
            return self._base, self._hold
        return self.limit, 0.0 if self.limit is None else max(self.until - at, 0.0)

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet if the last consumers helped, or known that they did not."""
        return self._trial is not None or self.limit is not None

    def changed(self, before: Load, now: Load, rate: float | None) -> None:
        """Note a change of the number of consumers; `rate` is the consume rate before it."""
        had, have = before.consumers or 0, now.consumers or 0
        trial, self._trial = self._trial, None
        if have <= had or not had:
            return
        if trial is not None:
            self._trial = trial._replace(last=now.at, consumers=have)
        elif rate and before.lag:
            self._trial = Trial(now.at, had, have, rate)

    def observe(self, load: Load, now: float | None, capacity: float | None) -> None:
        """Judge the last scale-out once its effect is in the rate `now`.

        `capacity` is what one consumer processes a second if nothing limits it.
        """
        if self.limit is not None and load.at >= self.until:
            self._base = self.limit
            self.limit += max(int(self.limit * PROBE), 1)
            self.until = math.inf
        trial = self._trial
        if trial is None or now is None or load.at - trial.last < SETTLE_SECONDS:
            return
        self._trial = None
        if (load.lag or 0) < (ENOUGH + load.commit_interval) * now:
            # There was not enough to do: the throughput was the demand.
            return
        expected = trial.rate * (trial.consumers - trial.consumers_before) / trial.consumers_before
        if now - trial.rate >= GAIN * expected:
            self.limit, self._base, self._hold = None, None, FIRST_HOLD
            return
        self._limit_to(self._useful(trial, now, capacity), load.at)

    @staticmethod
    def _useful(trial: Trial, now: float, capacity: float | None) -> int:
        """Return how many consumers the present throughput keeps busy."""
        busy = trial.consumers_before if not capacity else math.ceil(now / capacity)
        return min(max(busy, 1), trial.consumers - 1)

    def _limit_to(self, limit: int, at: float) -> None:
        known = [each for each in (limit, self.limit, self._base) if each is not None]
        self.limit, self._base = min(known), None
        self.until = at + self._hold
        self._hold = min(2 * self._hold, LONGEST_HOLD)
