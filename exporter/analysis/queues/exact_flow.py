"""The flow through a place whose broker reads all counters at one time: an nsqd, or a log."""

from __future__ import annotations

from exporter.analysis.queues.flow import Flow, Moved, PlaceBacklog, movement
from exporter.model import Counts


class ExactFlow(Flow):
    """Follows counters of one time: what has left is what entered less what waits.

    These counters have an epoch, so that a reset is detected.
    """

    __slots__ = ()

    def in_order(self, before: Counts | None, counts: Counts, at: float) -> Counts:  # noqa: ARG002 - the interface's
        """Return the counts unchanged: no response is older than the one before it."""
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
        """Process the counts; return what moved. They include every message."""
        curve = self._curve
        if before is None or curve is None:
            self._begin(counts, waiting, at)
            return Moved(0, 0, 0)
        moved = movement(before, counts, (_processed(before), _processed(counts)))
        came = self._arrivals.add_published(moved.produced, moved.consumed, at)
        if counts.replay is not None:
            # Consumers that restart read from an earlier offset, so `left` can decrease.
            self.left = max(self._arrivals.value - counts.outstanding, 0)
        else:
            # Counters of one time make this exact. Messages lost with a node have left, too.
            came += self._arrivals.raise_to(self.left + counts.outstanding)
            self.left = max(self._arrivals.value - counts.outstanding, self.left)
        moved.produced = came
        curve.add(at, came)
        self._depart(curve, moved, waiting.deferred or 0, at)
        curve.forget(self.left - (counts.replay or 0))
        return moved

    def observe_depth(self, held: int, now: float, *, old: float, is_back: bool) -> int:  # noqa: ARG002 - the interface's
        """Return 0: the counts are of the same time, and include every message."""
        return 0

    def estimate(self, waiting: PlaceBacklog, now: float) -> float | None:
        """Return the age of the oldest waiting message by the arrival curve; None if unknown."""
        curve = self._curve
        if curve is None:
            return None
        number = self.left + (waiting.deferred or 0) + 1
        if number > curve.total:
            # It came at an unknown time after the counts were read.
            return (now - curve.last) / 2
        enqueued_at = curve.time_of(number)
        return None if enqueued_at is None else now - enqueued_at


def _processed(counts: Counts) -> int:
    return (counts.enqueued or 0) - counts.outstanding
