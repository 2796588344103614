"""The flow of messages through one place: how many came and left, and when those that still wait came.

There are two kinds of it, as brokers count in two ways: `exact_flow` and `loose_flow`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from exporter.analysis.queues.arrival_curve import Record
from exporter.analysis.queues.arrivals import Arrivals
from exporter.model import Counts

TOO_OLD = 35.0
"""Seconds after which a reading says nothing of what happens now."""


class Moved:
    """What one look saw move."""

    __slots__ = ("consumed", "latency", "left", "produced", "redelivered")

    def __init__(self, produced: int, consumed: int, redelivered: int) -> None:
        self.left = 0
        """Messages that were seen to leave and are not among the consumed."""
        self.produced = produced
        self.consumed = consumed
        self.redelivered = redelivered
        self.latency: float | None = None
        """Seconds from enqueue to consumption of the last message that was consumed, where that is known."""


class PlaceBacklog(Protocol):
    """What waits in a place, as a flow needs it. None is not known."""

    @property
    def lag(self) -> int | None:
        """Messages that wait."""

    @property
    def deferred(self) -> int | None:
        """Messages that are held back for later; `lag` does not contain them."""

    @property
    def depth_at(self) -> float:
        """The moment that `lag` is of."""

    @property
    def empty_at(self) -> float | None:
        """When nothing waited last."""

    @property
    def consumers(self) -> int | None:
        """How many read from it."""

    @property
    def is_lost(self) -> bool:
        """Whether the last reading of it failed."""


class Flow(ABC):
    """Follows the counts of one place, from the first ones on.

    A place keeps one flow as long as its broker counts in the same way. `waiting` is the place: a flow keeps no
    reference to it.
    """

    __slots__ = ("_arrivals", "_counted_left", "_record", "_waited", "is_moving", "left")

    def __init__(self) -> None:
        self.left = 0
        """How many have left since the first counts, at the least."""
        self.is_moving = False
        """Whether messages left between the last two counts."""
        self._counted_left = 0
        """What `left` was at the last counts."""
        self._arrivals = Arrivals(0)
        self._record: Record | None = None
        """When messages came; None where nothing is counted."""
        self._waited: tuple[float, float] | None = None
        """When a message was last seen to have left and how long it waited, until the counts say that it was consumed."""

    @abstractmethod
    def in_order(self, before: Counts | None, counts: Counts, at: float) -> Counts:
        """Return the counts as they are to be used; `before` are the last ones, None if these are the first."""

    @abstractmethod
    def count(
        self,
        before: Counts | None,
        counts: Counts,
        waiting: PlaceBacklog,
        at: float,
        *,
        every_message: bool,
    ) -> Moved | None:
        """Process counts that `in_order` returned; return what moved, None if it is not known.

        `every_message` is False where the counts are known to leave out messages.
        """

    @abstractmethod
    def read(self, held: int, now: float, *, old: float, is_back: bool) -> int:
        """Take how many messages the place held `old` seconds ago, deferred ones included.

        `is_back` says that earlier readings failed, or that the last one is too old. Return how many more messages must
        have come than the flow knew of.
        """

    @abstractmethod
    def estimate(self, waiting: PlaceBacklog, now: float) -> float | None:
        """Return the age of the oldest message that waits, by the record; None where that is not known.

        Deferred messages are no lag: others overtake them, so they are passed over.
        """

    def end_record(self) -> None:
        """Take counts that do not tell what came: the record of arrivals ends."""
        self._record = None

    def _begin(self, counts: Counts, waiting: PlaceBacklog, at: float) -> None:
        """Begin to follow the counts."""
        self._arrivals = Arrivals(counts.outstanding)
        self.left = self._counted_left = 0
        self._record = _new_record(counts.outstanding, waiting.empty_at, at)

    def _depart(self, record: Record, moved: Moved, deferred: int, at: float) -> None:
        """Note which messages left since the last counts, and how long the last one that was consumed had waited."""
        self.is_moving = self.left > self._counted_left
        self._counted_left = self.left
        if self.is_moving:
            enqueued_at = record.time_of(self.left + deferred)
            self._waited = None if enqueued_at is None else (at, max(at - enqueued_at, 0.0))
        if moved.consumed > 0 and self._waited is not None:
            # What waits is read more often than the counts are taken, so a message may have left before it was counted.
            left_at, waited = self._waited
            if at - left_at < TOO_OLD:
                moved.latency = waited
            self._waited = None


def movement(before: Counts, now: Counts, processed: tuple[int | None, int | None]) -> Moved:
    """Return how many were published, consumed and delivered again between two looks.

    `processed` is how many had been processed by each of them.
    """
    if now.epoch != before.epoch:
        return Moved(0, 0, 0)
    return Moved(
        forward(before.enqueued, now.enqueued),
        forward(*processed),
        forward(before.redelivered, now.redelivered),
    )


def forward(before: int | None, now: int | None) -> int:
    """Return how far a counter moved; one that fell began again or lost a part, and shows nothing."""
    return 0 if before is None or now is None else max(now - before, 0)


def _new_record(outstanding: int, empty_at: float | None, at: float) -> Record:
    """Begin a record: when the place was seen empty, nothing that waits in it now had come."""
    if empty_at is None or empty_at >= at:
        return Record(at, outstanding)
    record = Record(empty_at, 0)
    record.add(at, outstanding)
    return record
