"""What the rows of both kinds of subscriptions have in common, for the JSON, the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import NamedTuple, Protocol


class Named(Protocol):
    """What is taken from a source's config."""

    @property
    def system(self) -> str: ...
    @property
    def name(self) -> str: ...


Key = tuple[str | None, str, str | None]
"""What a subscription is called in its source: vhost, destination and group."""


class Wanted(NamedTuple):
    """Which subscriptions are wanted, and what besides the usual."""

    partitions: bool = False
    history: Sequence[str] = ()
    """Columns of `history.Point`."""
    clock: float = 0.0
    """The moment in Unix time, which the history goes by."""
    only: Container[Key] | None = None
    """None is all of them."""
    stale: bool = False
    """Whether the last values are wanted that are too old to be shown as metrics."""

    def takes(self, vhost: str | None, destination: str, group: str | None) -> bool:
        """Whether this subscription is wanted."""
        return self.only is None or (vhost, destination, group) in self.only


PLAIN = Wanted()


def lag_of(known: Sequence[int], unreadable: int) -> dict[str, int | None]:
    """Return a subscription's lag: null, with a lower bound beside it, while a part of it cannot be read."""
    at_least = sum(known) if known else None
    return {
        "lag_messages": None if unreadable else at_least,
        "lag_messages_at_least": at_least,
        "unreadable_partitions": unreadable,
    }


def age_of(ages: Sequence[float | None]) -> dict[str, float | None]:
    """Return the age of the oldest unread message: null, with a lower bound beside it, while one age is unknown."""
    known = [age for age in ages if age is not None]
    at_least = max(known, default=None)
    return {
        "lag_seconds": at_least if len(known) == len(ages) else None,
        "lag_seconds_at_least": at_least,
    }


def finite(value: float | None) -> float | None:
    """JSON has no infinity: what never comes is null, as is what is not known."""
    return None if value is None or math.isinf(value) else value
