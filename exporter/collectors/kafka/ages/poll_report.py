"""The results of one poll of the times, apart from the times."""

from __future__ import annotations

from collections import Counter

from exporter.model import Problem, TimestampAnomaly


class PollReport:
    """Problems, timestamp anomalies, and the count and size of the records read, by topic."""

    __slots__ = ("anomalies", "problems", "sizes")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        """Topic to the number of records and their total bytes."""
        self.anomalies: Counter[TimestampAnomaly] = Counter()
