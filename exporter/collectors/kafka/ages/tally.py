"""What one poll of the times has found beside the times."""

from __future__ import annotations

from collections import Counter

from exporter.model import Problem, TimestampAnomaly


class Tally:
    """Problems, anomalies of timestamps, and the records that were read of each topic with their bytes."""

    __slots__ = ("anomalies", "problems", "sizes")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        """Topic to the number of records and their bytes in total."""
        self.anomalies: Counter[TimestampAnomaly] = Counter()
