"""Counters in slots, and their rates over a window of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Set as AbstractSet

SAMPLES = 16
"""Samples kept of a window: a rate's time is at most this part longer than the window."""
NOTHING: frozenset[int] = frozenset()


class CounterTable:
    """Monotonic counters in numbered slots, each starting at 0, with the rate of each over the last `window` seconds.

    One table serves thousands of counters: a sample is one copied list, and a rate costs a subtraction and a division.
    Slots of what is gone are given to what comes.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._last: float | None = None
        self._free: list[int] = []
        self._born: list[float] = []
        self._samples: deque[tuple[float, list[int]]] = deque()
        self._stale_since: dict[int, float] = {}
        self._gaps: dict[int, list[tuple[float, float]]] = {}
        """By slot, the recent times in which it could not be read."""
        self.values: list[int] = []
        """By slot; their owner adds to them."""
        self.rates: list[float | None] = []
        """By slot, per second; None while there is no history."""

    def allocate(self, now: float) -> int:
        """Return a slot whose counter is 0 now."""
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
        """Take a counter's time from `now` on: what it counts was not known before."""
        self._born[slot] = now
        self.rates[slot] = None

    def release(self, slot: int) -> None:
        """Give the slot back; its counter is gone."""
        self._stale_since.pop(slot, None)
        self._gaps.pop(slot, None)
        self._free.append(slot)

    def set_window(self, window: float) -> None:
        """Use another window from the next sample on."""
        self._window = window

    def sample(self, now: float, stale: AbstractSet[int] = NOTHING) -> None:
        """Take the present values as the counters' standing at `now` and compute the rates.

        `stale` are slots that could not be read this time: their rates stay as they are, and when they are read
        again, their movement is spread over the whole time in which they were not.
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
        gaps = self._gaps
        rates = self.rates
        for slot, (value, born) in enumerate(zip(self.values, self._born, strict=True)):
            if slot in stale:
                continue
            if slot >= known or born >= then:
                start, base = born, 0
            else:
                start, base = then, before[slot]
            if gaps and slot in gaps:
                # What is known of the beginning is as old as the gap that it is in.
                start = next(
                    (since for since, until in gaps[slot] if since <= start < until), start
                )
            rates[slot] = (value - base) / (now - start) if now > start else None

    def _follow_gaps(self, now: float, stale: AbstractSet[int]) -> None:
        last = now if self._last is None else self._last
        for slot in stale:
            self._stale_since.setdefault(slot, last)
        ended = [slot for slot in self._stale_since if slot not in stale]
        for slot in ended:
            self._gaps.setdefault(slot, []).append((self._stale_since.pop(slot), now))
        if ended:
            edge = now - 2 * self._window
            recent = {
                slot: [gap for gap in gaps if gap[1] > edge] for slot, gaps in self._gaps.items()
            }
            self._gaps = {slot: gaps for slot, gaps in recent.items() if gaps}
