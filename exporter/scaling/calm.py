"""Turns the number that the load needs into advice that does not oscillate."""

from __future__ import annotations

from collections import deque

from exporter.scaling.policy import ScalingPolicy

LARGEST_STEP_OUT = 4.0
"""At most this multiple of the present number of consumers at once."""
FREE_STEP = 8
"""So many consumers may be added at once in any case."""
URGENT = 1.5
URGENT_COOLDOWN = 0.25
"""If the need is this multiple of the advice, consumers may be added after this part of the
cooldown."""
LARGEST_STEP_IN = 0.5
"""At least this part of the present number remains."""
SLICES = 64
"""The needs of `cooldown_in` are kept in so many slices, so that a day costs as much as minutes."""


class Calm:
    """Cooldowns, a window for scaling in, and bounded steps."""

    __slots__ = ("_needs", "advice", "changed_at")

    def __init__(self) -> None:
        self.advice: int | None = None
        """The last advice."""
        self.changed_at: float | None = None
        """When the advice changed last."""
        self._needs: deque[tuple[float, int]] = deque()

    def advise(self, need: int, consumers: int, policy: ScalingPolicy, at: float) -> int:
        """Return the advice for a need. `consumers` is their present number."""
        need = min(max(need, policy.minimum), policy.maximum)
        if self._needs and at - self._needs[-1][0] < policy.cooldown_in / SLICES:
            began, highest = self._needs.pop()
            self._needs.append((began, max(highest, need)))
        else:
            self._needs.append((at, need))
        while at - self._needs[0][0] > policy.cooldown_in:
            self._needs.popleft()
        present = consumers if self.advice is None else self.advice
        wanted = self._bounded(need, present)
        urgent = need >= URGENT * present
        cooldown = policy.cooldown_out * (URGENT_COOLDOWN if urgent else 1)
        if wanted > present and self._may_change(cooldown, at):
            return self._change(wanted, at)
        if wanted < present and self._may_change(policy.cooldown_in, at):
            highest = max(each for _, each in self._needs)
            watched = at - self._needs[0][0] >= 0.9 * policy.cooldown_in
            if highest < present and watched:
                return self._change(self._bounded(highest, present), at)
        self.advice = min(max(present, policy.minimum), policy.maximum)
        return self.advice

    def step_back(self, consumers: int, at: float) -> int:
        """Take back a step that did not help, at once."""
        self._needs.clear()
        return self._change(consumers, at)

    def restart(self, consumers: int, at: float) -> None:
        """Somebody else changed the number of consumers: that is the new beginning."""
        self.advice, self.changed_at = consumers, at

    def _may_change(self, cooldown: float, at: float) -> bool:
        return self.changed_at is None or at - self.changed_at >= cooldown

    def _change(self, advice: int, at: float) -> int:
        self.advice, self.changed_at = advice, at
        return advice

    @staticmethod
    def _bounded(need: int, present: int) -> int:
        highest = max(int(present * LARGEST_STEP_OUT), present + FREE_STEP)
        return max(min(need, highest), int(present * LARGEST_STEP_IN))
