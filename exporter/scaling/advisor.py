"""The advice for one subscription: how many consumers, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from exporter.scaling.calm import Calm
from exporter.scaling.capacity import Capacity
from exporter.scaling.load import Hold, Load
from exporter.scaling.need import Need, need_of
from exporter.scaling.pauses import Pauses
from exporter.scaling.policy import ScalingPolicy
from exporter.scaling.recent import RecentRates
from exporter.scaling.saturation import Saturation
from exporter.scaling.score import score

HISTORY_SECONDS = 30.0
"""Partitions are looked at after this time. Before, a short burst would look like a hot one."""
AWAY_SECONDS = 60.0
"""A number of consumers that was not advised is that of somebody else after so long."""


HELD: Mapping[Hold, str] = {
    "blind": "the source cannot be read",
    "learning": "the capacity of a consumer is not known yet",
    "rebalancing": "the group is rebalancing",
    "retry_loop": "the same messages fail again and again",
    "paused": "delivery is paused",
    "open_transaction": "an open transaction holds messages back",
    "large_messages": "the messages are larger than usual",
    "prefetched": "the present consumers hold all waiting messages",
    "saturated": "more consumers did not process more",
    "hot_partition": "one partition has more than one consumer can do",
    "single_consumer": "only one consumer gets messages",
    "partitions": "there are no more partitions for further consumers",
    "maximum": "more would be needed, but this is the maximum",
}
"""The text for each hold."""


class Advice(NamedTuple):
    """What to do."""

    consumers: int
    """How many consumers the subscription should have."""
    held: Hold | None
    """Why the advice does not follow the load; None if it does."""
    score: float | None
    """1 is at the targets."""
    reason: str
    """One sentence for people."""


class Memory(NamedTuple):
    """What is kept across a restart of the exporter. Times are seconds before the saving."""

    capacity: float | None = None
    advice: int | None = None
    changed_ago: float | None = None
    limit: int | None = None
    """The number of consumers above which more did not help."""
    limit_for: float = 0.0
    """Seconds for which the limit still holds."""
    gone_for: float = 0.0
    """Seconds since the subscription disappeared."""

    def later(self, passed: float) -> Memory:
        """Return the memory of a subscription that was away for `passed` more seconds."""
        left = max(self.limit_for - passed, 0.0)
        return self._replace(
            changed_ago=None if self.changed_ago is None else self.changed_ago + passed,
            limit=self.limit if left else None,
            limit_for=left,
            gone_for=self.gone_for + passed,
        )


FORGETFUL = Memory()


class Advisor:
    """Follows one subscription. Holds no clock: every poll brings its time."""

    __slots__ = (
        "_away_since",
        "_began",
        "_calm",
        "_last",
        "_pauses",
        "_recent",
        "_saturation",
        "capacity",
        "last",
    )

    def __init__(self, memory: Memory = FORGETFUL, at: float = 0.0) -> None:
        """`memory` is from before a restart of the exporter; `at` is the present time."""
        self.capacity = Capacity(memory.capacity)
        self.last: Advice | None = None
        self._calm = Calm()
        if memory.advice is not None and memory.changed_ago is not None:
            self._calm.restart(memory.advice, at - memory.changed_ago)
        self._recent = RecentRates()
        self._saturation = Saturation()
        if memory.limit is not None:
            self._saturation.remember(memory.limit, at + memory.limit_for)
        self._pauses = Pauses()
        self._last: Load | None = None
        self._began = math.inf
        self._away_since: float | None = None

    def memory(self, at: float) -> Memory:
        """Return what to keep across a restart."""
        changed = self._calm.changed_at
        ago = None if changed is None else max(at - changed, 0.0)
        return Memory(self.capacity.value, self._calm.advice, ago, *self._saturation.memory(at))

    def observe(self, load: Load, policy: ScalingPolicy) -> Advice | None:
        """Return the advice after one poll; None if there never was enough to advise."""
        if not load.is_known:
            return self._keep(
                "blind", "the lag or the number of consumers is unknown", load, policy
            )
        self._began = min(self._began, load.at)
        self._learn(load)
        if load.blocked is not None or load.rebalancing:
            hold: Hold = load.blocked or "rebalancing"
            return self._keep(hold, HELD[hold], load, policy)
        if self.capacity.value is None:
            return self._without_capacity(load, policy)
        if load.at - self._began < HISTORY_SECONDS:
            # The rates of single partitions are those of a few seconds.
            load = load._replace(partitions=tuple)
        present = load.consumers or 0
        need = self._gated(
            need_of(load, self._recent.highest, self.capacity.value, policy), load, policy
        )
        hold_now = self._hold_of(need, load, policy)
        if hold_now == "saturated":
            need = Need(min(need.consumers, self._saturation.limit or need.consumers))
        elif hold_now is not None:
            need = Need(min(need.consumers, present))
        return self._give(need, hold_now, load, policy, self._explain(load, need, policy))

    def _learn(self, load: Load) -> None:
        """Follow changes of the number of consumers, and what they process."""
        before = self._last
        if before is not None and before.consumers != load.consumers:
            self._saturation.changed(before, load, self._recent.consumed)
            self._note_other_change(before, load)
        self._follow_other_change(load)
        self._last = load._replace(partitions=tuple)  # which may be many
        self._recent.observe(load)
        self._pauses.observe(load)
        self._saturation.observe(load, self._recent.consumed, self.capacity.value)
        if not self._saturation.is_open:
            # Consumers that share a limit look slow.
            self.capacity.observe(load, self._pauses.seconds(load))

    def _without_capacity(self, load: Load, policy: ScalingPolicy) -> Advice | None:
        """Advise before the capacity of a consumer is known."""
        if load.consumers:
            return self._keep("learning", HELD["learning"], load, policy)
        if load.lag:
            need = Need(max(policy.minimum, 1))
            return self._give(need, None, load, policy, f"{load.lag:,} wait and nobody reads")
        return self._give(Need(0), None, load, policy, "nothing waits")

    def _gated(self, need: Need, load: Load, policy: ScalingPolicy) -> Need:
        """Return the present number instead of a need that the score does not confirm.

        The same if the rebalance costs more than the additional consumers can process.
        """
        present, more = load.consumers or 0, need.consumers - (load.consumers or 0)
        if not present or not more:
            return need
        # The ratio of the rates alone says nothing: it is 1 for every consumer that keeps up.
        without = score(load, replace(policy.weights, rate=0.0))
        points = None if without is None else score(load, policy.weights)
        if more > 0:
            calm = points is not None and points <= policy.out_above
            if calm or not self._pauses.is_worth(load, more, policy.drain_time):
                return Need(present, need.hot)
        elif points is not None and points >= policy.in_below:
            return Need(present, need.hot)
        return need

    def _note_other_change(self, before: Load, load: Load) -> None:
        """Note since when the number of consumers is one that was not advised."""
        advice = self._calm.advice
        if advice is None:
            return
        earlier, now = abs(advice - (before.consumers or 0)), abs(advice - (load.consumers or 0))
        if now == 0:
            self._away_since = None
        elif now > earlier or self._away_since is not None:
            self._away_since = load.at  # while it changes, it is no decision

    def _follow_other_change(self, load: Load) -> None:
        """Make a number that was not advised the new beginning, once somebody seems to want it.

        It lasts, and it is not 0: when a broker restarts, consumers vanish and come back.
        """
        since = self._away_since
        if since is None or not load.consumers or load.at - since < AWAY_SECONDS:
            return
        self._away_since = None
        if load.consumers != self._calm.advice:
            self._calm.restart(load.consumers, load.at)

    def _hold_of(self, need: Need, load: Load, policy: ScalingPolicy) -> Hold | None:
        limit, present = self._saturation.limit, load.consumers or 0
        if limit is not None and need.consumers > limit:
            return "saturated"
        if need.limited and load.max_consumers == 1:
            return "single_consumer"
        if need.consumers <= present:
            if need.hot is not None and load.lag:
                return "hot_partition"
            return "partitions" if need.limited else None
        if need.consumers > policy.maximum and present >= policy.maximum:
            return "maximum"
        # The present consumers hold all messages that wait: further ones would get none.
        return "prefetched" if present and load.lag and load.in_flight == load.lag else None

    def _keep(self, hold: Hold, why: str, load: Load, policy: ScalingPolicy) -> Advice | None:
        """Repeat the last advice; at first, the present number of consumers."""
        advice = self._calm.advice
        if advice is None:
            if load.consumers is None:
                return None
            advice = load.consumers
        advice = _within(advice, load, policy)
        kept = Advice(advice, hold, score(load, policy.weights), f"{advice}, held: {why}")
        self.last = kept
        return kept

    def _give(
        self, need: Need, hold: Hold | None, load: Load, policy: ScalingPolicy, why: str
    ) -> Advice:
        present = load.consumers or 0
        before = self._calm.advice
        if hold == "saturated" and before is not None and need.consumers < before:
            advice = self._calm.step_back(_within(need.consumers, load, policy), load.at)
        else:
            need_now = _within(need.consumers, load, policy)
            advice = self._calm.advise(need_now, present, policy, load.at)
            advice = _within(advice, load, policy)
        words = f"{advice}" if before in (None, advice) else f"{advice}, was {before}"
        held = "" if hold is None else f", held: {HELD[hold]}"
        self.last = Advice(advice, hold, score(load, policy.weights), f"{words}{held}: {why}")
        return self.last

    def _explain(self, load: Load, need: Need, policy: ScalingPolicy) -> str:
        parts = [
            f"{load.produced_rate or 0:,.3g}/s come in",
            f"{load.lag:,} wait",
            f"each consumer does {self.capacity.value or 0:,.3g}/s",
        ]
        text = ", ".join(parts) + f"; {policy.drain_time:,.0f} s to drain"
        if need.hot is not None and load.lag:
            text += f"; {need.hot} needs more than one consumer can do"
        idle = (load.consumers or 0) - (load.max_consumers or load.consumers or 0)
        if idle > 0:
            text += f"; {idle} of {load.consumers} consumers have nothing to read"
        return text


def _within(count: int, load: Load, policy: ScalingPolicy) -> int:
    """Return the number within the limits: no more than can share the work."""
    highest = policy.maximum
    if load.max_consumers:
        highest = min(highest, load.max_consumers)
    return min(max(count, policy.minimum), highest)
