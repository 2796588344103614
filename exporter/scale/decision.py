"""Decides whether to run the command. Pure functions; time is an argument.

Times are in seconds of the monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from exporter.scale.advice import ValidAdvice

RETRY_LEAST, RETRY_MOST = 15.0, 300.0
"""Seconds from a failed command to the next try: the first time, and at most."""
DIFFERS_SECONDS = 600.0
"""After this time, a number of consumers that is not the applied one is no transition any more."""
FOLLOWED = frozenset(
    {
        *(None, "saturated", "hot_partition", "single_consumer"),
        *("partitions", "maximum", "prefetched"),
    }
)
"""Values of `held` with which the advice rests on a known load. With others it repeats itself or,
after a restart of the exporter, the present number. Then no consumer is removed.
"""


@dataclass(frozen=True, slots=True)
class State:
    """What the controller remembers from poll to poll."""

    applied: int | None = None
    """The number of consumers that was set last; None if unknown."""
    failures: int = 0
    """How often the command has failed since its last success."""
    retry_at: float = -math.inf
    """Earliest time of the next try after a failure."""
    differs_since: float | None = None
    """Since when the present number is not the applied one."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run the command."""

    consumers: int
    before: int | None
    """The number until now: the applied one, else the present one."""
    cause: Literal["first", "changed", "retry", "enforced"]


@dataclass(frozen=True, slots=True)
class Stay:
    """Run nothing."""

    why: Literal["missing", "held", "adopted", "agrees", "settles", "differs", "backs_off"]


def decide(
    state: State, advice: ValidAdvice | None, now: float, *, enforce: bool = False
) -> tuple[Run | Stay, State]:
    """Return what to do after a poll, and the state after it. Without advice nothing is done.

    If the decision is `Run`, call `finished` with the result.
    """
    if advice is None:
        return Stay("missing"), replace(state, differs_since=None)
    if advice.held not in FOLLOWED and advice.desired < _most(state.applied, advice.present):
        return Stay("held"), replace(state, differs_since=None)
    if state.failures:
        return _retry(state, advice, now)
    if state.applied is None:
        return _first(advice)
    if advice.desired != state.applied:
        return Run(advice.desired, state.applied, "changed"), state
    return _compare(state, advice, now, enforce=enforce)


def _retry(state: State, advice: ValidAdvice, now: float) -> tuple[Run | Stay, State]:
    """Decide after a failure.

    The failed command may have done anything, so even the number before it is set again.
    """
    if now < state.retry_at:
        return Stay("backs_off"), state
    before = advice.present if state.applied is None else state.applied
    return Run(advice.desired, before, "retry"), state


def _first(advice: ValidAdvice) -> tuple[Run | Stay, State]:
    """Decide at the first valid advice."""
    if advice.present == advice.desired:
        return Stay("adopted"), State(applied=advice.desired)
    return Run(advice.desired, advice.present, "first"), State()


def _compare(
    state: State, advice: ValidAdvice, now: float, *, enforce: bool
) -> tuple[Run | Stay, State]:
    """Decide by the present number, where the advised number was applied."""
    if advice.present in (None, advice.desired):
        return Stay("agrees"), replace(state, differs_since=None)
    since = now if state.differs_since is None else state.differs_since
    state = replace(state, differs_since=since)
    if now - since < DIFFERS_SECONDS:
        return Stay("settles"), state
    if enforce:
        return Run(advice.desired, advice.present, "enforced"), state
    return Stay("differs"), state


def finished(state: State, consumers: int, *, succeeded: bool, now: float) -> State:
    """Return the state after the command that should set this number of consumers."""
    if succeeded:
        return State(applied=consumers)
    failures = state.failures + 1
    return replace(
        state, failures=failures, retry_at=now + retry_seconds(failures), differs_since=None
    )


def retry_seconds(failures: int) -> float:
    """Return the pause after this many failures: twice the last one, within bounds."""
    return min(RETRY_LEAST * 2.0 ** min(failures - 1, 30), RETRY_MOST)


def _most(applied: int | None, present: int | None) -> float:
    """Return the larger of the numbers that are known, or infinity."""
    return max((each for each in (applied, present) if each is not None), default=math.inf)
