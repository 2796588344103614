"""Histograms with classic buckets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from prometheus_client.utils import floatToGoString

from exporter.analysis.nodes import Labeler


class Histogram:
    """Counts observations by bucket."""

    __slots__ = ("_bounds", "_counts", "labels", "sum")

    def __init__(
        self, bounds: Sequence[float], labeler: Labeler, labels: Mapping[str, str]
    ) -> None:
        """`bounds` are the buckets' upper bounds in ascending order, without +Inf."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.labels: Sequence[str] = [
            *(
                "_bucket" + labeler({**labels, "le": floatToGoString(bound)})
                for bound in (*bounds, float("inf"))
            ),
            "_count" + labeler(labels),
            "_sum" + labeler(labels),
        ]
        """For each value of `values`, the text after the metric's name."""

    def observe(self, value: float) -> None:
        """Count one value. A value equal to an upper bound belongs to that bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def values(self) -> list[int | float]:
        """Return the cumulative counts, the count and the sum."""
        total = 0
        cumulated: list[int | float] = []
        for count in self._counts:
            total += count
            cumulated.append(total)
        return [*cumulated, total, round(self.sum, 6)]
