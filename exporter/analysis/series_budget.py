"""Chooses what is exposed of a source that has more series than `max_series`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

STAY = 1.25
"""A subscription that is exposed is replaced only by one that lags this many times more. This keeps
series from coming and going."""


@dataclass
class Budget:
    """Number of series that may still be added."""

    room: int
    dropped: int = 0

    def reserve(self, need: int) -> bool:
        """Reserve `need` series; return False if there is not enough room."""
        if need > self.room:
            return False
        self.room -= need
        return True


@dataclass
class Companions(Generic[T]):
    """Topics or groups that a subscription needs. Each is exposed once, with all its series."""

    size: Callable[[T], int]
    budget: Budget
    shown: dict[int, T]

    def need(self, thing: T | None) -> int:
        """Return how many series adding it takes."""
        return 0 if thing is None or id(thing) in self.shown else self.size(thing)

    def add(self, thing: T | None) -> None:
        """Add it. Its series must have been reserved."""
        if thing is not None:
            self.shown[id(thing)] = thing

    def fill(self, things: Iterable[T]) -> list[T]:
        """Add all others that still fit; return those that are exposed, in the given order."""
        every = list(things)
        for thing in every:
            if id(thing) not in self.shown:
                need = self.size(thing)
                if self.budget.reserve(need):
                    self.add(thing)
                else:
                    self.budget.dropped += need
        return [thing for thing in every if id(thing) in self.shown]


def most_lagging_first(
    subscriptions: Sequence[S], *, lag: Callable[[S], float], shown: Callable[[S], bool]
) -> list[S]:
    """Order subscriptions by lag, with a bonus for those that are exposed already."""

    def weight(subscription: S) -> float:
        value = lag(subscription)
        return value * STAY + 1 if shown(subscription) else value

    return sorted(subscriptions, key=weight, reverse=True)
