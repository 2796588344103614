"""How many messages left a queue lately, and at which pace."""

from __future__ import annotations

from collections import deque

SECONDS = 15.0
"""Over which the pace is taken."""
FURTHEST = 7.5
"""Seconds for which it is believed to go on."""
REMEMBERED = 8
"""Looks at the counts that are remembered."""


class Processed:
    """Remembers how many messages were processed by the last looks at the counts."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)

    def restart(self) -> None:
        """Forget everything: the count begins again at 0."""
        self._steps.clear()

    def note(self, at: float, processed: int) -> None:
        """Note that the counts read at `at` say so many."""
        self._steps.append((at, processed))

    def by(self, at: float) -> int:
        """Return how many were processed by the last look not later than `at`; 0 before the first."""
        return max((processed for then, processed in self._steps if then <= at), default=0)


class Outflow:
    """Remembers how many messages had left at the last looks."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()

    def note(self, at: float, left: int) -> None:
        """Note that `left` messages had left by `at`; a smaller number than before is another count."""
        steps = self._steps
        if steps and steps[-1][1] > left:
            steps.clear()
        steps.append((at, left))
        while len(steps) > 2 and at - steps[1][0] >= SECONDS:  # noqa: PLR2004 - two make a pace
            steps.popleft()

    def within(self, seconds: float) -> float:
        """Return how many messages leave within so many seconds after a look."""
        if len(self._steps) < 2:  # noqa: PLR2004 - two make a pace
            return 0.0
        (then, before), (now, after) = self._steps[0], self._steps[-1]
        pace = (after - before) / (now - then) if now > then else 0.0
        return pace * min(max(seconds, 0.0), FURTHEST)
