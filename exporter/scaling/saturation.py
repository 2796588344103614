"""Whether more consumers help at all: if not, what they use is the limit, such as a database."""

from __future__ import annotations

from exporter.scaling.load import Load

GAIN = 0.25
"""A scale-out helped if at least this part of the expected gain was observed."""
FIRST_HOLD = 600.0
"""Seconds for which scaling out is held after it did not help."""
LONGEST_HOLD = 7_200.0
"""The hold doubles each time, up to this."""
SETTLE_SECONDS = 90.0
"""Time after a change until the new rate is known."""


class Saturation:
    """Compares the throughput before and after consumers were added."""

    __slots__ = ("_before", "_hold", "_until", "limit")

    def __init__(self) -> None:
        self.limit: int | None = None
        """The number of consumers above which none helped; None if unknown or expired."""
        self._before: tuple[float, int, int, float] | None = None
        """Time of the last scale-out, consumers before and after it, and the rate before."""
        self._hold = FIRST_HOLD
        self._until = 0.0

    def changed(self, before: Load, now: Load, rate: float | None) -> None:
        """Note a change of the number of consumers; `rate` is the consume rate before it."""
        self._before = None
        if before.consumers and now.consumers and now.consumers > before.consumers:
            if rate and before.lag:
                self._before = (now.at, before.consumers, now.consumers, rate)

    def observe(self, load: Load, now: float | None) -> None:
        """Judge the last scale-out once its effect is in the rate `now`."""
        if self.limit is not None and load.at >= self._until:
            self.limit = None
        if self._before is None or now is None:
            return
        at, consumers_before, consumers, rate = self._before
        if load.at - at < SETTLE_SECONDS:
            return
        self._before = None
        if not load.lag:
            # There was not enough to do: the throughput was the demand.
            return
        expected = rate * (consumers - consumers_before) / consumers_before
        if now - rate < GAIN * expected:
            self.limit, self._until = consumers_before, load.at + self._hold
            self._hold = min(2 * self._hold, LONGEST_HOLD)
        else:
            self._hold = FIRST_HOLD
