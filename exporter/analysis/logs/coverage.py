"""Partitions that a group should read but has no committed offset for, and their messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from exporter.analysis.logs.topic import LogTopic


class Uncommitted(NamedTuple):
    """Partitions that the group should read, with messages but without a committed offset."""

    partitions: int
    messages: int
    unassigned: Sequence[int]
    """Those that are not assigned to a member."""
    unassigned_messages: int


NOTHING_UNCOMMITTED = Uncommitted(0, 0, (), 0)


class Coverage:
    """Determines which partitions of a topic one group should read.

    - Group with members: all partitions of a topic that they subscribe to. Each is assigned to a
      member, or will be once the members notice that it was added.
    - Group without members whose last members subscribed: all partitions, too.
    - Any other group: only partitions that were added while it had an offset on all others.
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
        """Number of partitions when the group last had all of them assigned or committed."""
        self._expected_of: tuple[int, bool, bool] = (0, False, False)
        """Input of the last search: number of partitions, whether members read the topic, whether
        the group subscribes."""
        self._sure_from = 0
        """Partitions from this one on must be assigned to a member."""
        self._without_offset: Sequence[int] = ()

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that are assigned to members."""
        return self._assigned

    def commit(self, partitions: Collection[int], topic: LogTopic) -> None:
        """Set the partitions for which the group has a committed offset."""
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
        """Set the partitions that are assigned to members (None is unknown).

        `subscribes` is whether the group subscribes to topics.
        """
        assigned = frozenset() if assigned is None else assigned
        expected_of = (topic.partitions, has_members, subscribes)
        if assigned != self._assigned or expected_of != self._expected_of:
            self._assigned = assigned
            self._search(topic, has_members, subscribes)

    def uncommitted(
        self, topic: LogTopic, hold: float, now: float, *, members_known: bool
    ) -> Uncommitted | None:
        """Count the messages on partitions without a committed offset.

        None if unknown: the members are unknown, or such a partition could not be read for `hold`
        seconds.
        """
        if not self._without_offset:
            return NOTHING_UNCOMMITTED if members_known else None
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
        """Count partitions without an offset that are unreadable for longer than `hold`."""
        if not self._without_offset:
            return 0
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
