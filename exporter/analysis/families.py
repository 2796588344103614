"""The series of a source: for each metric, a list of label texts and a list of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

Value = int | float | None


class _Infinity(float):
    """Infinity in the notation of the exposition formats."""

    def __str__(self) -> str:
        return "+Inf"


INFINITY = _Infinity("inf")


@dataclass(frozen=True, slots=True)
class Family:
    """The series of one metric of one source. A value of None is left out."""

    name: str
    labels: Sequence[str]
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Shown:
    """The series that a source exposes, and how many were left out because of `max_series`."""

    families: Sequence[Family]
    series: int
    dropped: int


@dataclass(frozen=True, slots=True)
class View:
    """The config of what a source exposes."""

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


def with_label(label: str, name: str, value: str) -> str:
    """Return the label text of a subscription with one more label. The value needs no escapes."""
    return f'{label.removesuffix("} ")},{name}="{value}"}} '


def flat(lists: Iterable[Sequence[Value]]) -> list[Value]:
    """Return the lists' values as one list."""
    return list(chain.from_iterable(lists))


def whole_sum(values: Sequence[Value]) -> Value:
    """Return the sum; None if a value is unknown, because the sum would be too small."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
