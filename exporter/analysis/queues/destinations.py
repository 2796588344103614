"""Destinations of a queue source, and how much is produced to them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from exporter.analysis.mean_size import MeanSize
from exporter.analysis.nodes import Labeler
from exporter.analysis.queues.labels import labels_of
from exporter.analysis.rates import CounterTable
from exporter.model import Produced, QueueBacklog, StreamOffsets

QueueKey = tuple[str | None, str]
"""vhost, destination."""


class QueueDestination:
    """A destination: messages produced to each of its partitions, and their size."""

    __slots__ = (
        "label",
        "mean_size",
        "name",
        "partitions",
        "recent",
        "retired",
        "vhost",
    )

    def __init__(self, vhost: str | None, name: str, label: str) -> None:
        self.vhost: Final = vhost
        self.name: Final = name
        self.label: Final = label
        """Text of the destination's labels."""
        self.partitions: dict[str | None, QueuePartition] = {}
        self.retired = 0
        """Messages produced to partitions that do not exist any more."""
        self.mean_size: float | None = None
        """Bytes."""
        self.recent: Final = MeanSize()
        """Size of recently produced messages, if the broker counts bytes."""


class QueuePartition:
    """How much was produced to one partition of a destination."""

    __slots__ = (
        "_known",
        "_size",
        "counted",
        "counted_at",
        "end",
        "label",
        "rated",
        "slot",
        "start",
    )

    def __init__(self, label: str, slot: int, now: float) -> None:
        self.label: Final = label
        self.slot: Final = slot
        self.counted_at = now
        self.counted = True
        """Whether the broker counts what is produced."""
        self.rated = True
        """Whether it has done so over the whole rate window."""
        self.start: int | None = None
        self.end: int | None = None
        """Offsets, if it is a stream."""
        self._known: tuple[int, int] | None = None
        self._size = 0

    def advance(self, count: int, size: int | None, epoch: int, now: float) -> tuple[int, int]:
        """Set a broker's counters of messages and bytes; return the increase of both."""
        before, self._known = self._known, (count, epoch)
        bytes_before, self._size = self._size, size or 0
        self.counted_at = now
        if before is None or before[1] != epoch or count < before[0]:
            return 0, 0
        return count - before[0], max(self._size - bytes_before, 0)


class Destinations:
    """Follows the destinations of one source from poll to poll."""

    __slots__ = ("_labeler", "produced", "queues")

    def __init__(self, labeler: Labeler, rate_window: float) -> None:
        self._labeler: Final = labeler
        self.queues: dict[QueueKey, QueueDestination] = {}
        self.produced: Final = CounterTable(rate_window)
        """By `QueuePartition.slot`."""

    def queue(self, vhost: str | None, destination: str) -> QueueDestination:
        """Return a destination; add it if it is new."""
        queue = self.queues.get((vhost, destination))
        if queue is None:
            label = self._labeler(labels_of(vhost, destination))
            queue = self.queues[vhost, destination] = QueueDestination(vhost, destination, label)
        return queue

    def count(self, produced: Produced, now: float) -> None:
        """Set a broker's counter of produced messages."""
        queue = self.queue(produced.vhost, produced.destination)
        partition = self._partition(queue, produced.partition, now)
        moved, grown = partition.advance(produced.total, produced.size, produced.epoch, now)
        self.produced.values[partition.slot] += moved
        if produced.size is None or not produced.total:
            return
        if moved:
            queue.recent.add(moved, grown)
            queue.mean_size = queue.recent.mean
        elif queue.mean_size is None:
            queue.mean_size = round(produced.size / produced.total, 1)

    def add(self, queue: QueueDestination, messages: int, now: float) -> QueuePartition:
        """Add messages to a destination of one partition, as its only subscription counts them."""
        partition = self._partition(queue, None, now)
        partition.counted_at = now
        self.produced.values[partition.slot] += messages
        return partition

    def set_offsets(self, offsets: StreamOffsets) -> None:
        """Set the start and the end of a stream."""
        vhost, destination, _, name = offsets.place
        queue = self.queues.get((vhost, destination))
        partition = queue.partitions.get(name) if queue is not None else None
        if partition is not None:
            partition.end, partition.start = offsets.end, offsets.start

    def set_sizes(self, sizes: Mapping[QueueKey, float]) -> None:
        """Set the mean sizes of messages in bytes, if the broker reports them."""
        for key, size in sizes.items():
            queue = self.queues.get(key)
            if queue is not None:
                queue.mean_size = size

    def sample(self, now: float) -> None:
        """Compute the rates of the partitions that were counted at `now`; others keep theirs."""
        self.produced.sample(
            now,
            {
                partition.slot
                for queue in self.queues.values()
                for partition in queue.partitions.values()
                if partition.counted_at != now
            },
        )

    def forget(
        self, backlog: QueueBacklog, used: AbstractSet[tuple[str | None, str, str | None]]
    ) -> None:
        """Drop partitions that are not `used` any more (vhost, destination, partition).

        A destination is dropped with its last partition. What the poll did not read is kept.
        """
        alive = {(vhost, destination) for vhost, destination, _ in used}
        for key, queue in list(self.queues.items()):
            for name in list(queue.partitions):
                read = name in backlog.vanished or name in backlog.whole
                if read and (*key, name) not in used:
                    slot = queue.partitions.pop(name).slot
                    queue.retired += self.produced.values[slot]
                    self.produced.release(slot)
            if not queue.partitions and key not in alive:
                del self.queues[key]

    def _partition(self, queue: QueueDestination, name: str | None, now: float) -> QueuePartition:
        partition = queue.partitions.get(name)
        if partition is None:
            label = self._labeler(labels_of(queue.vhost, queue.name, partition=name))
            partition = QueuePartition(label, self.produced.allocate(now), now)
            queue.partitions[name] = partition
        return partition
