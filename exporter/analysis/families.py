"""What a source shows: each metric's series, as label texts and values side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

Value = int | float | None


class _Infinity(float):
    """Infinity as the text formats write it."""

    def __str__(self) -> str:
        return "+Inf"


INFINITY = _Infinity("inf")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric's series of one source. A value of None is left out."""

    name: str
    labels: Sequence[str]
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a source shows: its families, how many series they have, how many were left out."""

    families: Sequence[Family]
    series: int
    dropped: int


@dataclass(frozen=True, slots=True)
class View:
    """How a source is to be shown."""

    hold: float
    max_series: int
    per_partition: bool


def count_series(families: Iterable[Family]) -> int:
    """Return how many series the families have."""
    return sum(len(family.labels) for family in families)


def family(name: str, labels: list[str], values: list[Value]) -> Family:
    """Return a family without the series whose value is None."""
    if None in values:
        pairs = [(a, b) for a, b in zip(labels, values, strict=True) if b is not None]
        return Family(name, [a for a, _ in pairs], [b for _, b in pairs])
    return Family(name, labels, values)


def flat(lists: Iterable[Sequence[Value]]) -> list[Value]:
    """Return the lists' values as one list."""
    return list(chain.from_iterable(lists))


def whole_sum(values: Sequence[Value]) -> Value:
    """Return the sum, and nothing where one is not known: it would be understated."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
