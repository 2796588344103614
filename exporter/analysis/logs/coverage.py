"""Which partitions a group should read without having a committed offset there, and what waits on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from exporter.analysis.logs.topic import LogTopic


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
    notice that it was added. Without members, a group whose last members subscribed should read all of them, too. Of any
    other group it is known only of partitions that were added while it had a position on all the others.
    """

    __slots__ = (
        "_assigned",
        "_covered",
        "_expected_of",
        "_sure_from",
        "_with_offset",
        "_without_offset",
    )

    def __init__(self) -> None:
        self._assigned: frozenset[int] = frozenset()
        self._with_offset: Collection[int] = ()
        self._covered = 0
        """How many partitions the topic had when the group last read, or had a position on, all of them."""
        self._expected_of: tuple[int, bool, bool] = (0, False, False)
        """Partitions of the topic, whether members read it, and whether the group subscribes, at the last search."""
        self._sure_from = 0
        """The first of the partitions of which it is sure that a member should be assigned."""
        self._without_offset: Sequence[int] = ()

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that members are assigned."""
        return self._assigned

    def commit(self, partitions: Collection[int], topic: LogTopic) -> None:
        """Take the partitions on which the group has a committed offset."""
        self._with_offset = partitions
        self._search(topic, *self._expected_of[1:])

    def assign(
        self,
        assigned: frozenset[int] | None,
        topic: LogTopic,
        *,
        has_members: bool,
        subscribes: bool,
    ) -> None:
        """Take the partitions that members are assigned (None is unknown), and whether the group subscribes to topics."""
        assigned = frozenset() if assigned is None else assigned
        expected_of = (topic.partitions, has_members, subscribes)
        if assigned != self._assigned or expected_of != self._expected_of:
            self._assigned = assigned
            self._search(topic, has_members, subscribes)

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
            if partition not in self._assigned and partition >= self._sure_from:
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

    def _search(self, topic: LogTopic, has_members: bool, subscribes: bool) -> None:
        count = topic.partitions
        self._expected_of = (count, has_members, subscribes)
        if len(self._assigned.union(self._with_offset)) >= count:
            self._covered = count
        added_from = self._covered or count
        self._sure_from = 0 if has_members else added_from
        expected = set(self._assigned)
        expected.update(range(0 if has_members or subscribes else added_from, count))
        self._without_offset = sorted(expected.difference(self._with_offset))
