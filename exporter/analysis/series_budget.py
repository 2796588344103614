"""What is shown of a source that has more series than it may show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")

STAY = 1.25
"""A shown subscription is left out only for one that lags this many times more, so that series don't come and go."""


@dataclass
class Budget:
    """Series that may still be shown."""

    room: int
    dropped: int = 0

    def reserve(self, need: int) -> bool:
        """Use up so many series, if there is room for all of them."""
        if need > self.room:
            return False
        self.room -= need
        return True


@dataclass
class Brought(Generic[T]):
    """Things that a subscription brings along: its destination, its group. Each is shown once, whole."""

    size: Callable[[T], int]
    budget: Budget
    shown: dict[int, T]

    def need(self, thing: T | None) -> int:
        """Return how many series it would add."""
        return 0 if thing is None or id(thing) in self.shown else self.size(thing)

    def add(self, thing: T | None) -> None:
        """Show it; its series were taken from the budget."""
        if thing is not None:
            self.shown[id(thing)] = thing

    def fill(self, things: Iterable[T]) -> list[T]:
        """Show what still fits of all there are; return what is shown, in their order."""
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
    """Order subscriptions by how much they deserve to be shown."""

    def weight(subscription: S) -> float:
        value = lag(subscription)
        return value * STAY + 1 if shown(subscription) else value

    return sorted(subscriptions, key=weight, reverse=True)
