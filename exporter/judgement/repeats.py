"""Whether the same messages are delivered repeatedly, however rarely."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import NamedTuple

MOST = 0.5
"""A loop has more than this fraction of repeats among the deliveries."""
LEAST_REPEATS = 5
TIMES = 3
"""Number of different moments with repeats that make a loop: a consumer that restarts repeats its
messages only once."""
SLICES = 8
"""Repeats within the window divided by this count as one moment."""
MEMORY = 30
"""Number of windows after which a repeat is forgotten."""
LATE = 2
"""A loop is over after this multiple of the longest time between two moments with repeats."""


class RetryLoop(NamedTuple):
    """Messages that fail repeatedly, with both counts over the last `seconds`."""

    redelivered: int
    consumed: int
    seconds: float

    @property
    def share(self) -> float:
        """Fraction of the deliveries that were repeats."""
        return self.redelivered / (self.redelivered + self.consumed)


class _Moment(NamedTuple):
    at: float
    redelivered: int
    consumed: int
    """Messages processed up to the poll before."""


class Repeats:
    """Follows the counters of processed and redelivered messages. Stores nothing without repeats.

    The span is the window, or longer until it contains `LEAST_REPEATS` repeats at `TIMES` moments.
    So a loop with minutes between two attempts is found, and it ends soon after messages are
    processed again.
    """

    __slots__ = ("_consumed", "_moments", "_redelivered")

    def __init__(self) -> None:
        self._redelivered: int | None = None
        self._consumed = 0
        self._moments: deque[_Moment] | None = None

    def observe(
        self, at: float, consumed: int, redelivered: int, *, waiting: bool, window: float
    ) -> RetryLoop | None:
        """Record both counters; return the loop if there is one.

        `waiting` is whether there are messages that are not processed yet.
        """
        before, self._redelivered = self._redelivered, redelivered
        if before is not None and redelivered > before:
            self._add(_Moment(at, redelivered - before, self._consumed), window)
        self._consumed = consumed
        if self._moments is None:
            return None
        self._forget(self._moments, at, window)
        if not self._moments:
            self._moments = None
            return None
        return self._loop(self._moments, at, window) if waiting else None

    def _add(self, moment: _Moment, window: float) -> None:
        moments = self._moments
        if moments is None:
            self._moments = deque((moment,))
        elif moment.at - moments[-1].at < window / SLICES:
            last = moments[-1]
            moments[-1] = last._replace(redelivered=last.redelivered + moment.redelivered)
        else:
            moments.append(moment)

    def _forget(self, moments: deque[_Moment], at: float, window: float) -> None:
        """Drop moments that are too old, and those before the window if the others are enough."""
        while moments and at - moments[0].at > MEMORY * window:
            moments.popleft()
        while len(moments) > TIMES and at - moments[1].at >= window:
            rest = sum(each.redelivered for each in moments) - moments[0].redelivered
            if rest < LEAST_REPEATS:
                break
            moments.popleft()

    def _loop(self, moments: deque[_Moment], at: float, window: float) -> RetryLoop | None:
        redelivered = sum(each.redelivered for each in moments)
        lasted = at - moments[0].at
        if len(moments) < TIMES or redelivered < LEAST_REPEATS or lasted < window:
            return None
        times = [each.at for each in moments]
        longest = max(later - earlier for earlier, later in pairwise(times))
        if at - times[-1] > max(window, LATE * longest):
            return None
        found = RetryLoop(redelivered, max(self._consumed - moments[0].consumed, 0), lasted)
        return found if found.share > MOST else None
