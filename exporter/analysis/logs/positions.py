"""Where one group stands in one log: its committed offsets and its lag, by partition."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final


class PositionTable:
    """The partitions on which a group has a committed offset, in ascending order, and what is known of each.

    A list for each number, side by side with `partitions`: there are many partitions.
    """

    __slots__ = (
        "_label",
        "_shrunk",
        "committed",
        "labels",
        "lag",
        "moved_at",
        "partitions",
        "stale",
    )

    def __init__(self, partition_label: Callable[[int], str]) -> None:
        self._label: Final = partition_label
        self.partitions: list[int] = []
        self.labels: list[str] = []
        """Texts of the partitions' labels."""
        self.committed: list[int | None] = []
        self.lag: list[int | None] = []
        self.moved_at: array[float] = array("d")
        """When the position last moved, or nothing waited there."""
        self.stale: dict[int, float] = {}
        """Partitions that can't be read now, to when they last could be."""
        self._shrunk = False
        """Whether partitions are kept that the last offsets did not contain."""

    def match(self, offsets: Mapping[int, int | None], now: float) -> Collection[int] | None:
        """Make room for the partitions of `offsets`. Return which ones are gone; None if they are those of before."""
        if len(offsets) != len(self.partitions) or any(p not in offsets for p in self.partitions):
            return self.fit(offsets, now)
        self._shrunk = False
        return None

    def fit(self, offsets: Mapping[int, int | None], now: float) -> Collection[int]:
        """Change the set of partitions; one that is missing for the first time is kept once. Return which are gone."""
        known = dict(
            zip(
                self.partitions,
                zip(self.committed, self.lag, self.labels, self.moved_at, strict=True),
                strict=True,
            )
        )
        missing = known.keys() - offsets.keys()
        keep = missing if not self._shrunk else set()
        self._shrunk = bool(keep)
        self.partitions = sorted({*offsets, *keep})
        self.committed, self.lag, self.labels = [], [], []
        self.moved_at = array("d")
        for partition in self.partitions:
            committed, lag, label, moved_at = known.get(partition) or (
                None,
                None,
                self._label(partition),
                now,
            )
            self.committed.append(committed)
            self.lag.append(lag)
            self.labels.append(label)
            self.moved_at.append(moved_at)
        gone = missing - keep
        for partition in gone:
            self.stale.pop(partition, None)
        return gone

    def hold(self, read_at: float) -> None:
        """No partition could be read this time: everything stays as it was at `read_at`."""
        for partition in self.partitions:
            self.stale.setdefault(partition, read_at)

    def restart(self) -> None:
        """Forget the committed offsets: the next ones belong to another log of the same name."""
        self.committed = [None] * len(self.committed)

    def visible(
        self, values: Sequence[int | None], hold: float, now: float
    ) -> Sequence[int | None]:
        """Return the values by partition, without those that could not be read for longer than `hold`."""
        stale = self.stale
        if not stale:
            return values
        return [
            None if partition in stale and now - stale[partition] > hold else value
            for partition, value in zip(self.partitions, values, strict=True)
        ]
