"""The committed offsets of the groups that are followed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from exporter.collectors.kafka.commit_stream.records import partition_of
from exporter.model import Positions


class GroupOffsets:
    """The committed offsets of one group."""

    __slots__ = (
        "_changed",
        "_offsets",
        "_positions",
        "_recent",
        "commits",
        "loaded",
        "name",
        "partition",
    )

    def __init__(self, name: str, partition: int) -> None:
        self.name = name
        self.partition = partition
        """Of `__consumer_offsets`."""
        self.loaded: tuple[int, int] | None = None
        """The generation of the partition and the poll when the coordinator was asked last; None
        if the offsets are unknown.
        """
        self.commits = 0
        """Number of records since the group is known."""
        self._offsets: dict[str, dict[int, int]] = {}
        self._recent: dict[tuple[str, int], int | None] = {}
        """Records since the offsets were returned or loaded; None is a deletion."""
        self._changed = False
        self._positions = Positions(name, {})

    def commit(self, topic: str, partition: int, offset: int) -> bool:
        """Apply a commit, and return whether it changed the offset. A negative one is none."""
        if offset < 0:
            self.remove(topic, partition)
            return False
        self.commits += 1
        self._recent[topic, partition] = offset
        return self._set(topic, partition, offset)

    def remove(self, topic: str, partition: int) -> None:
        """Apply the deletion of a commit."""
        self.commits += 1
        self._recent[topic, partition] = None
        self._unset(topic, partition)

    def miss(self) -> None:
        """A record was missed: the offsets are unknown, and records before it say nothing."""
        self.loaded = None
        self._recent.clear()

    def load(self, offsets: Mapping[str, Mapping[int, int | None]], at: tuple[int, int]) -> None:
        """Replace the offsets by what the coordinator returned. All must be known.

        The coordinator may have answered before it knew the records that were just read. So these
        are applied again. Newer ones are read before the offsets are used.
        """
        self._offsets = {
            topic: {partition: offset for partition, offset in found.items() if offset is not None}
            for topic, found in offsets.items()
        }
        for (topic, partition), offset in self._recent.items():
            if offset is None:
                self._unset(topic, partition)
            else:
                self._set(topic, partition, offset)
        self._recent.clear()
        self.loaded, self._changed = at, True

    def _set(self, topic: str, partition: int, offset: int) -> bool:
        offsets = self._offsets.get(topic)
        if offsets is None:
            offsets = self._offsets[topic] = {}
        if offsets.get(partition) == offset:
            return False
        offsets[partition] = offset
        self._changed = True
        return True

    def _unset(self, topic: str, partition: int) -> None:
        offsets = self._offsets.get(topic)
        if offsets is not None and offsets.pop(partition, None) is not None:
            self._changed = True
            if not offsets:
                del self._offsets[topic]

    def positions(self) -> Positions:
        """Return the offsets. The same object is returned until one changes."""
        if self._recent:
            self._recent.clear()
        if self._changed:
            copied = {topic: dict(offsets) for topic, offsets in self._offsets.items()}
            self._positions, self._changed = Positions(self.name, copied), False
        return self._positions

    def is_like(
        self, offsets: Mapping[str, Mapping[int, int | None]], topics: Container[str]
    ) -> bool:
        """Return whether the offsets of these topics are the same."""
        names = self._offsets.keys() | offsets.keys()
        return all(
            self._offsets.get(name, {}) == offsets.get(name, {}) for name in names if name in topics
        )


class CommitTable:
    """The groups by name, and which of them are known."""

    def __init__(self) -> None:
        self.groups: dict[str, GroupOffsets] = {}
        self._generations: dict[int, int] = {}
        """Partition of the topic to how often its records were missed."""

    def group(self, name: str, partitions: int) -> GroupOffsets:
        """Return the group; a new one is not known. The topic has so many partitions."""
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = GroupOffsets(name, partition_of(name, partitions))
        return group

    def keep_only(self, names: Iterable[str]) -> None:
        """Forget all other groups."""
        wanted = frozenset(names)
        if not self.groups.keys() <= wanted:
            self.groups = {name: each for name, each in self.groups.items() if name in wanted}

    def missed(self, partitions: Iterable[int]) -> None:
        """Note that records of these partitions were missed: their groups are not known."""
        missed = frozenset(partitions)
        for partition in missed:
            self._generations[partition] = self._generations.get(partition, 0) + 1
        for group in self.groups.values():
            if group.partition in missed:
                group.miss()

    def load(
        self, group: GroupOffsets, offsets: Mapping[str, Mapping[int, int | None]], poll: int
    ) -> None:
        """Replace the group's offsets by what its coordinator returned in this poll."""
        group.load(offsets, (self._generations.get(group.partition, 0), poll))

    def is_loaded(self, group: GroupOffsets, poll: int) -> bool:
        """Return whether the coordinator was asked in an earlier poll, and no record was missed."""
        loaded = group.loaded
        return (
            loaded is not None
            and loaded[1] < poll
            and loaded[0] == self._generations.get(group.partition, 0)
        )
