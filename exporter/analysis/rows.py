"""Parts that rows of log and queue subscriptions share. Rows feed the JSON, the page and `top`."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import NamedTuple, Protocol


class Named(Protocol):
    """The part of a source's config that rows contain."""

    @property
    def system(self) -> str: ...
    @property
    def name(self) -> str: ...


Key = tuple[str | None, str, str | None]
"""Identifies a subscription in its source: vhost, destination and group."""


class Wanted(NamedTuple):
    """Which subscriptions and which optional columns a request wants."""

    partitions: bool = False
    history: Sequence[str] = ()
    """Columns of `history.Point`."""
    clock: float = 0.0
    """Unix time of the request; the history is relative to it."""
    only: Container[Key] | None = None
    """None is all subscriptions."""
    advice_seconds: float = 60.0
    """How long scaling advice is valid after a poll."""
    stale: bool = False
    """Whether to return last values that are too old to be exposed as metrics."""

    def includes(self, vhost: str | None, destination: str, group: str | None) -> bool:
        """Return whether this subscription is wanted."""
        return self.only is None or (vhost, destination, group) in self.only


PLAIN = Wanted()


def lag_of(known: Sequence[int], unreadable: int) -> dict[str, int | None]:
    """Return a subscription's lag. If a partition is unreadable: null, and a lower bound."""
    at_least = sum(known) if known else None
    return {
        "lag_messages": None if unreadable else at_least,
        "lag_messages_at_least": at_least,
        "unreadable_partitions": unreadable,
    }


def age_of(ages: Sequence[float | None]) -> dict[str, float | None]:
    """Return the age of the oldest unread message. If one is unknown: null, and a lower bound."""
    known = [age for age in ages if age is not None]
    at_least = max(known, default=None)
    return {
        "lag_seconds": at_least if len(known) == len(ages) else None,
        "lag_seconds_at_least": at_least,
    }


def finite(value: float | None) -> float | None:
    """Return None for infinity, which JSON does not have."""
    return None if value is None or math.isinf(value) else value
