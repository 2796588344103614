"""Which partitions a group should read without having a committed offset there, and what waits on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from exporter.analysis.topic import LogTopic


class Uncommitted(NamedTuple):
    """Partitions that the group should read, that hold messages, and that have no committed offset."""

    partitions: int
    messages: int
    unassigned: Sequence[int]
    """Those of them that no member is assigned."""
    unassigned_messages: int


class Coverage:
    """Follows which partitions of a topic one group should read.

    In a group with members, each partition of a topic that they subscribe to belongs to one of them, or will once they
    notice that it was added. A group without members is known to read the partitions that were added while it had a
    position on all the others.
    """

    __slots__ = ("_assigned", "_covered", "_expected_of", "_with_offset", "_without_offset")

    def __init__(self) -> None:
        self._assigned: frozenset[int] = frozenset()
        self._with_offset: Collection[int] = ()
        self._covered = 0
        """How many partitions the topic had when the group last read, or had a position on, all of them."""
        self._expected_of: tuple[int, bool] = (0, False)
        """Partitions of the topic, and whether the group has members that read it, at the last search."""
        self._without_offset: Sequence[int] = ()

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that members are assigned."""
        return self._assigned

    def commit(self, partitions: Collection[int], topic: LogTopic) -> None:
        """Take the partitions on which the group has a committed offset."""
        self._with_offset = partitions
        self._search(topic, has_members=self._expected_of[1])

    def assign(
        self, assigned: frozenset[int] | None, topic: LogTopic, *, has_members: bool
    ) -> None:
        """Take the partitions that members are assigned; None is unknown."""
        assigned = frozenset() if assigned is None else assigned
        if assigned != self._assigned or (topic.partitions, has_members) != self._expected_of:
            self._assigned = assigned
            self._search(topic, has_members=has_members)

    def uncommitted(
        self, topic: LogTopic, hold: float, now: float, *, members_known: bool
    ) -> Uncommitted | None:
        """Count what waits on the partitions without a committed offset.

        None where that is not known: the members are not, or such a partition could not be read for `hold` seconds.
        """
        if not members_known and not self._without_offset:
            return None
        partitions = messages = unassigned_messages = 0
        unassigned: list[int] = []
        for partition in self._without_offset:
            if partition >= topic.partitions:
                continue
            start, end = topic.start[partition], topic.end[partition]
            if start is None or end is None or now - topic.read_at[partition] > hold:
                return None
            if end <= start:
                continue
            partitions += 1
            messages += end - start
            if partition not in self._assigned:
                unassigned.append(partition)
                unassigned_messages += end - start
        return Uncommitted(partitions, messages, unassigned, unassigned_messages)

    def unreadable(self, topic: LogTopic, hold: float, now: float) -> int:
        """Count the partitions without a committed offset that could not be read for longer than `hold`."""
        return sum(
            topic.end[partition] is None or now - topic.read_at[partition] > hold
            for partition in self._without_offset
            if partition < topic.partitions
        )

    def _search(self, topic: LogTopic, *, has_members: bool) -> None:
        count = topic.partitions
        self._expected_of = (count, has_members)
        if len(self._assigned.union(self._with_offset)) >= count:
            self._covered = count
        expected = set(self._assigned)
        if has_members:
            expected.update(range(count))
        elif self._covered:
            expected.update(range(self._covered, count))
        self._without_offset = sorted(expected.difference(self._with_offset))
