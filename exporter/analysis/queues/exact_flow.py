"""The flow through a place whose broker takes all counts in one moment: an nsqd, or a log."""

from __future__ import annotations

from exporter.analysis.queues.flow import Flow, Moved, PlaceBacklog, movement
from exporter.model import Counts


class ExactFlow(Flow):
    """Follows counts of one moment: what left is what had come less what waits.

    Such counts name their epoch, so it shows if they begin again.
    """

    __slots__ = ()

    def in_order(self, before: Counts | None, counts: Counts, at: float) -> Counts:  # noqa: ARG002 - the interface's
        """Return the counts as they are: no answer is older than the one before it."""
        return counts

    def count(
        self,
        before: Counts | None,
        counts: Counts,
        waiting: PlaceBacklog,
        at: float,
        *,
        every_message: bool,  # noqa: ARG002 - the interface's
    ) -> Moved | None:
        """Take the counts; return what moved. They leave out nothing."""
        record = self._record
        if before is None or record is None:
            self._begin(counts, waiting, at)
            return Moved(0, 0, 0)
        moved = movement(before, counts, (_processed(before), _processed(counts)))
        came = self._arrivals.published(moved.produced, moved.consumed, at)
        if counts.replay is not None:
            # Consumers that stopped go on where they were before, so what has left can become less.
            self.left = max(self._arrivals.value - counts.outstanding, 0)
        else:
            # Counted in one moment, so it can't be off; what was lost with a node that died has left, too.
            came += self._arrivals.at_least(self.left + counts.outstanding)
            self.left = max(self._arrivals.value - counts.outstanding, self.left)
        moved.produced = came
        record.add(at, came)
        self._depart(record, moved, waiting.deferred or 0, at)
        record.forget(self.left - (counts.replay or 0))
        return moved

    def read(self, held: int, now: float, *, old: float, is_back: bool) -> int:  # noqa: ARG002 - the interface's
        """Return 0: the counts are of the same moment, and know of every message."""
        return 0

    def estimate(self, waiting: PlaceBacklog, now: float) -> float | None:
        """Return the age of the oldest message that waits, by the record; None where that is not known."""
        record = self._record
        if record is None:
            return None
        number = self.left + (waiting.deferred or 0) + 1
        if number > record.total:
            # It came after the counts were taken, at any moment since.
            return (now - record.last) / 2
        enqueued_at = record.time_of(number)
        return None if enqueued_at is None else now - enqueued_at


def _processed(counts: Counts) -> int:
    return (counts.enqueued or 0) - counts.outstanding
