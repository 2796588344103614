"""Committed offsets and lag of one group in one log, by partition."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final


class PositionTable:
    """The partitions for which a group has a committed offset, in ascending order.

    One list for each property, in the order of `partitions`, because there are many partitions.
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
        """When the offset last moved, or the partition last had no lag."""
        self.stale: dict[int, float] = {}
        """Partition that cannot be read now, to the time of its last reading."""
        self._shrunk = False
        """Whether there are partitions that were missing in the last offsets."""

    def match(self, offsets: Mapping[int, int | None], now: float) -> Collection[int] | None:
        """Set the partitions to those of `offsets`. Return which are gone; None if no change."""
        if len(offsets) != len(self.partitions) or any(p not in offsets for p in self.partitions):
            return self.fit(offsets, now)
        self._shrunk = False
        return None

    def fit(self, offsets: Mapping[int, int | None], now: float) -> Collection[int]:
        """Set the partitions to those of `offsets`. Return those that are gone.

        A partition that is missing for the first time is kept.
        """
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

    def clear(self, now: float) -> Collection[int]:
        """Remove all partitions and return them."""
        gone = list(self.partitions)
        while self.partitions:
            self.fit({}, now)
        return gone

    def unreadable(self, hold: float, now: float) -> int:
        """Count the partitions that are unreadable for longer than `hold`, or always were."""
        return sum(lag is None for lag in self.visible(self.lag, hold, now)) if self.stale else 0

    def stay(self, now: float) -> None:
        """Note a poll in which no offset and no lag was different."""
        for index, lag in enumerate(self.lag):
            if not lag:
                self.moved_at[index] = now

    def mark_stale(self, read_at: float) -> None:
        """No partition could be read: keep all values as they were at `read_at`."""
        for partition in self.partitions:
            self.stale.setdefault(partition, read_at)

    def restart(self) -> None:
        """Forget the offsets: the next ones belong to a new log of the same name."""
        self.committed = [None] * len(self.committed)

    def visible(
        self, values: Sequence[int | None], hold: float, now: float
    ) -> Sequence[int | None]:
        """Return the values by partition; None for partitions unreadable for longer than `hold`."""
        stale = self.stale
        if not stale:
            return values
        return [
            None if partition in stale and now - stale[partition] > hold else value
            for partition, value in zip(self.partitions, values, strict=True)
        ]
