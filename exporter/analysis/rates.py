"""Counters in slots, and their rates over a time window."""

from __future__ import annotations

from collections import deque
from collections.abc import Set as AbstractSet

SAMPLES = 16
"""Samples per window. The time that a rate covers exceeds the window by at most 1/16."""
NOTHING: frozenset[int] = frozenset()


class CounterTable:
    """Monotonic counters in numbered slots, each with its rate over the last `window` seconds.

    Counters start at 0. One table serves thousands of counters: a sample is one copied list, and a
    rate costs a subtraction and a division. Released slots are reused.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._last: float | None = None
        self._free: list[int] = []
        self._born: list[float] = []
        self._samples: deque[tuple[float, list[int]]] = deque()
        self._stale_since: dict[int, float] = {}
        self._outages: dict[int, list[tuple[float, float]]] = {}
        """Slot to its recent times without readings: (last reading before, first reading after)."""
        self.values: list[int] = []
        """By slot. The owner increments them."""
        self.rates: list[float | None] = []
        """By slot, per second; None before there are two samples."""

    def allocate(self, now: float) -> int:
        """Return a slot with a counter of 0."""
        if self._free:
            slot = self._free.pop()
            self.values[slot] = 0
            self.rates[slot] = None
            self._born[slot] = now
            return slot
        self.values.append(0)
        self.rates.append(None)
        self._born.append(now)
        return len(self.values) - 1

    def begin(self, slot: int, now: float) -> None:
        """Let the counter's time begin at `now`, because it was not counted before."""
        self._born[slot] = now
        self.rates[slot] = None

    def release(self, slot: int) -> None:
        """Free the slot; its counter is gone."""
        self._stale_since.pop(slot, None)
        self._outages.pop(slot, None)
        self._free.append(slot)

    def set_window(self, window: float) -> None:
        """Use another window from the next sample."""
        self._window = window

    def sample(self, now: float, stale: AbstractSet[int] = NOTHING) -> None:
        """Sample the counters at `now` and compute the rates.

        `stale` are slots that could not be read. They keep their rates. At the next reading their
        increase is spread over the whole time without readings.
        """
        self._follow_gaps(now, stale)
        samples = self._samples
        edge = now - self._window
        while len(samples) > 1 and samples[1][0] <= edge:
            samples.popleft()
        if samples:
            self._compute(now, *samples[0], stale)
        self._last = now
        if not samples or now - samples[-1][0] >= self._window / SAMPLES:
            samples.append((now, self.values.copy()))

    def _compute(self, now: float, then: float, before: list[int], stale: AbstractSet[int]) -> None:
        known = len(before)
        outages = self._outages
        rates = self.rates
        for slot, (value, born) in enumerate(zip(self.values, self._born, strict=True)):
            if slot in stale:
                continue
            if slot >= known or born >= then:
                start, base = born, 0
            else:
                start, base = then, before[slot]
            if outages and slot in outages:
                # The base was last read when the time without readings began.
                start = next(
                    (since for since, until in outages[slot] if since <= start < until), start
                )
            rates[slot] = (value - base) / (now - start) if now > start else None

    def _follow_gaps(self, now: float, stale: AbstractSet[int]) -> None:
        last = now if self._last is None else self._last
        for slot in stale:
            self._stale_since.setdefault(slot, last)
        ended = [slot for slot in self._stale_since if slot not in stale]
        for slot in ended:
            self._outages.setdefault(slot, []).append((self._stale_since.pop(slot), now))
        if ended:
            edge = now - 2 * self._window
            recent = {
                slot: [outage for outage in outages if outage[1] > edge]
                for slot, outages in self._outages.items()
            }
            self._outages = {slot: outages for slot, outages in recent.items() if outages}
