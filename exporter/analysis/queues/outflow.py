"""How many messages left a queue recently, and at which rate."""

from __future__ import annotations

from collections import deque

SECONDS = 15.0
"""Time over which the rate is measured."""
FURTHEST = 7.5
"""Seconds for which the rate is extrapolated."""
REMEMBERED = 8
"""Number of polls of the counts that are kept."""


class Processed:
    """Keeps the number of processed messages of the last polls."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)

    def restart(self) -> None:
        """Forget everything: the count starts at 0."""
        self._steps.clear()

    def note(self, at: float, processed: int) -> None:
        """Record the number that was read at `at`."""
        self._steps.append((at, processed))

    def by(self, at: float) -> int:
        """Return the number at the last poll not later than `at`; 0 before the first poll."""
        return max((processed for then, processed in self._steps if then <= at), default=0)


class Outflow:
    """Keeps the number of departed messages of the last polls."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()

    def note(self, at: float, left: int) -> None:
        """Record that `left` messages had left by `at`. A smaller number starts a new count."""
        steps = self._steps
        if steps and steps[-1][1] > left:
            steps.clear()
        steps.append((at, left))
        while len(steps) > 2 and at - steps[1][0] >= SECONDS:  # noqa: PLR2004 - two make a rate
            steps.popleft()

    def within(self, seconds: float) -> float:
        """Return the expected number of messages that leave within `seconds` after a poll."""
        if len(self._steps) < 2:  # noqa: PLR2004 - two make a rate
            return 0.0
        (then, before), (now, after) = self._steps[0], self._steps[-1]
        pace = (after - before) / (now - then) if now > then else 0.0
        return pace * min(max(seconds, 0.0), FURTHEST)
