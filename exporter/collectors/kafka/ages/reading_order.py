"""The order of record reads that verifies a partition's lookups soonest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from exporter.collectors.kafka.ages.index_trust import CHECKS
from exporter.collectors.kafka.ages.read_points import ReadPoint
from exporter.collectors.kafka.ages.time_index import TimeIndex


class _Span(NamedTuple):
    """How much a bracket covers.

    For equal coverage, the offset nearest to the middle comes first.
    """

    per_time: tuple[float, int]
    """Offsets per millisecond."""
    offsets: tuple[int, int]


def best_checks_first(points: Iterable[ReadPoint], index: TimeIndex, end: int) -> list[ReadPoint]:
    """Return offsets of a partition in the order in which their reads best verify its index.

    `end` is the partition's end. If old records are replayed after newer ones, lookups see many
    offsets in almost no time. The same happens where many records arrived at once, so the offset
    whose bracket covers most offsets comes second. The record that a lookup returned does not test
    that lookup.
    """
    spans = {point: _span(index, point[0], end) for point in points}
    found = sorted(spans, key=lambda point: spans[point].per_time, reverse=True)
    if len(found) > CHECKS:
        second = max(found[1:], key=lambda point: spans[point].offsets)
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
    # Records out of order are in the middle; near the ends they may be in order again.
    from_middle = -abs(2 * offset - bracket.low_offset - high_offset)
    return _Span((offsets / max(width, 1), from_middle), (offsets, from_middle))
