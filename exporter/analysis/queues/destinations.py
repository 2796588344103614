"""The destinations of a source that are queues, and what is produced to them."""

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
    """A destination: how many messages were produced to each of its parts, and how large they are."""

    __slots__ = (
        "label",
        "mean_size",
        "name",
        "parts",
        "recent",
        "retired",
        "vhost",
    )

    def __init__(self, vhost: str | None, name: str, label: str) -> None:
        self.vhost: Final = vhost
        self.name: Final = name
        self.label: Final = label
        """Text of the destination's labels."""
        self.parts: dict[str | None, QueuePartition] = {}
        self.retired = 0
        """Messages produced to parts that are no more."""
        self.mean_size: float | None = None
        """Bytes."""
        self.recent: Final = MeanSize()
        """Of what came in lately, where that is counted."""


class QueuePartition:
    """What was produced to one part of a destination."""

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
        """Whether the broker counts what is produced here."""
        self.rated = True
        """Whether it did so over the whole rate window."""
        self.start: int | None = None
        self.end: int | None = None
        """Offsets, where it is a stream."""
        self._known: tuple[int, int] | None = None
        self._size = 0

    def movement(self, count: int, size: int | None, epoch: int, now: float) -> tuple[int, int]:
        """Take a broker's count, and the bytes where it counts them; return how far both moved."""
        before, self._known = self._known, (count, epoch)
        bytes_before, self._size = self._size, size or 0
        self.counted_at = now
        if before is None or before[1] != epoch or count < before[0]:
            return 0, 0
        return count - before[0], max(self._size - bytes_before, 0)


class Destinations:
    """Follows the destinations of one source from look to backlog."""

    __slots__ = ("_labeler", "produced", "queues")

    def __init__(self, labeler: Labeler, rate_window: float) -> None:
        self._labeler: Final = labeler
        self.queues: dict[QueueKey, QueueDestination] = {}
        self.produced: Final = CounterTable(rate_window)
        """By `QueuePartition.slot`."""

    def queue(self, vhost: str | None, destination: str) -> QueueDestination:
        """Return a destination; a new one if it was not known."""
        queue = self.queues.get((vhost, destination))
        if queue is None:
            label = self._labeler(labels_of(vhost, destination))
            queue = self.queues[vhost, destination] = QueueDestination(vhost, destination, label)
        return queue

    def count(self, produced: Produced, now: float) -> None:
        """Take a broker's count of what was produced."""
        queue = self.queue(produced.vhost, produced.destination)
        part = self._part(queue, produced.partition, now)
        moved, grown = part.movement(produced.total, produced.size, produced.epoch, now)
        self.produced.values[part.slot] += moved
        if produced.size is None or not produced.total:
            return
        if moved:
            queue.recent.add(moved, grown)
            queue.mean_size = queue.recent.mean
        elif queue.mean_size is None:
            queue.mean_size = round(produced.size / produced.total, 1)

    def add(self, queue: QueueDestination, messages: int, now: float) -> QueuePartition:
        """Add what was produced to a destination of one part, where its only subscription tells it."""
        part = self._part(queue, None, now)
        part.counted_at = now
        self.produced.values[part.slot] += messages
        return part

    def set_offsets(self, offsets: StreamOffsets) -> None:
        """Take where a log begins and ends."""
        vhost, destination, _, partition = offsets.place
        queue = self.queues.get((vhost, destination))
        part = queue.parts.get(partition) if queue is not None else None
        if part is not None:
            part.end, part.start = offsets.end, offsets.start

    def set_sizes(self, sizes: Mapping[QueueKey, float]) -> None:
        """Take the mean sizes of messages, in bytes, where the broker tells them."""
        for key, size in sizes.items():
            queue = self.queues.get(key)
            if queue is not None:
                queue.mean_size = size

    def sample(self, now: float) -> None:
        """Compute the rates of the parts that were counted at `now`; the others stay as they are."""
        self.produced.sample(
            now,
            {
                part.slot
                for queue in self.queues.values()
                for part in queue.parts.values()
                if part.counted_at != now
            },
        )

    def forget(
        self, backlog: QueueBacklog, used: AbstractSet[tuple[str | None, str, str | None]]
    ) -> None:
        """Drop the parts that are not `used` any more (vhost, destination, partition), and with the last one the destination.

        Of what the look did not read nothing is dropped.
        """
        alive = {(vhost, destination) for vhost, destination, _ in used}
        for key, queue in list(self.queues.items()):
            for partition in list(queue.parts):
                read = partition in backlog.vanished or partition in backlog.whole
                if read and (*key, partition) not in used:
                    slot = queue.parts.pop(partition).slot
                    queue.retired += self.produced.values[slot]
                    self.produced.release(slot)
            if not queue.parts and key not in alive:
                del self.queues[key]

    def _part(self, queue: QueueDestination, partition: str | None, now: float) -> QueuePartition:
        part = queue.parts.get(partition)
        if part is None:
            label = self._labeler(labels_of(queue.vhost, queue.name, partition=partition))
            part = QueuePartition(label, self.produced.allocate(now), now)
            queue.parts[partition] = part
        return part
