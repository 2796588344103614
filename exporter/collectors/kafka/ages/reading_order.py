"""In which order to read records, so that they soon tell whether the lookups of their partition can be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from exporter.collectors.kafka.ages.places import Place
from exporter.collectors.kafka.ages.time_index import TimeIndex
from exporter.collectors.kafka.ages.trust import CHECKS


class _Span(NamedTuple):
    """How much a bracket covers, to compare by; of what covers as much, the middle comes first."""

    per_time: tuple[float, int]
    """Offsets by millisecond."""
    offsets: tuple[int, int]


def most_telling_first(places: Iterable[Place], index: TimeIndex, end: int) -> list[Place]:
    """Return places of a partition that ends at `end`, in the order in which reading tells most of its index.

    Where old records are replayed after newer ones, lookups see many offsets in no time; so it is where many came
    at once, hence those that see most offsets come second. The record that a lookup answered is no test of it.
    """
    spans = {place: _span(index, place[0], end) for place in places}
    found = sorted(spans, key=lambda place: spans[place].per_time, reverse=True)
    if len(found) > CHECKS:
        second = max(found[1:], key=lambda place: spans[place].offsets)
        found.remove(second)
        found.insert(1, second)
    return found


def _span(index: TimeIndex, offset: int, end: int) -> _Span:
    bracket = index.bracket(offset)
    low, below = bracket.low, bracket.below
    if bracket.exact or low is None:
        return _Span((0.0, 0), (0, 0))
    high_offset, width = (end, 1) if below is None else (bracket.high_offset, below - low)
    offsets = high_offset - bracket.low_offset
    # What is out of order lies inside; at the sides it may be in order again.
    from_middle = -abs(2 * offset - bracket.low_offset - high_offset)
    return _Span((offsets / max(width, 1), from_middle), (offsets, from_middle))
