"""Which subscriptions are shown where there are more than a source may have series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

S = TypeVar("S")

STAY = 1.25
"""A shown subscription is left out only for one that lags this many times more, so that series don't come and go."""


def within_limit(
    subscriptions: Sequence[S],
    *,
    room: int,
    size: Callable[[S], int],
    lag: Callable[[S], float],
    shown: Callable[[S], bool],
) -> list[S]:
    """Return the subscriptions that fit into `room` series, whole ones, the most lagging first.

    The order of the result is that of the input.
    """
    if sum(map(size, subscriptions)) <= room:
        return list(subscriptions)

    def weight(subscription: S) -> float:
        value = lag(subscription)
        return value * STAY + 1 if shown(subscription) else value

    chosen: set[int] = set()
    for index in sorted(
        range(len(subscriptions)), key=lambda index: (-weight(subscriptions[index]), index)
    ):
        need = size(subscriptions[index])
        if need <= room:
            room -= need
            chosen.add(index)
    return [subscriptions[index] for index in sorted(chosen)]
