"""The flow of messages through one place: how many entered and left, and when.

Brokers count in two ways, so there are two implementations: `exact_flow` and `loose_flow`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from exporter.analysis.queues.arrival_curve import ArrivalCurve
from exporter.analysis.queues.arrivals import Arrivals
from exporter.model import Counts

TOO_OLD = 35.0
"""A reading that is older than this many seconds does not describe the present."""


class Moved:
    """How many messages moved between two polls."""

    __slots__ = ("consumed", "latency", "left", "produced", "redelivered")

    def __init__(self, produced: int, consumed: int, redelivered: int) -> None:
        self.left = 0
        """Messages that were seen to leave and are not counted in `consumed`."""
        self.produced = produced
        self.consumed = consumed
        self.redelivered = redelivered
        self.latency: float | None = None
        """Seconds from enqueue to consumption of the last consumed message; None if unknown."""


class PlaceBacklog(Protocol):
    """The backlog of a place, as a flow uses it. None is unknown."""

    @property
    def lag(self) -> int | None:
        """Messages that wait."""

    @property
    def deferred(self) -> int | None:
        """Messages that are held back for later; `lag` does not include them."""

    @property
    def depth_at(self) -> float:
        """The time for which `lag` is valid."""

    @property
    def empty_at(self) -> float | None:
        """When the place was last empty."""

    @property
    def consumers(self) -> int | None:
        """Number of consumers."""

    @property
    def is_lost(self) -> bool:
        """Whether the last reading failed."""


class Flow(ABC):
    """Follows the counts of one place.

    A place keeps its flow while its broker counts in the same way. `waiting` is the place; a flow
    keeps no reference to it.
    """

    __slots__ = ("_arrivals", "_counted_left", "_curve", "_waited", "is_moving", "left")

    def __init__(self) -> None:
        self.left = 0
        """Lower bound on the number of messages that left since the first counts."""
        self.is_moving = False
        """Whether messages left between the last two counts."""
        self._counted_left = 0
        """Value of `left` at the last counts."""
        self._arrivals = Arrivals(0)
        self._curve: ArrivalCurve | None = None
        """When messages were enqueued; None if nothing is counted."""
        self._waited: tuple[float, float] | None = None
        """When a message was last seen to leave, and how long it had waited, until the counts show
        it as consumed."""

    @abstractmethod
    def in_order(self, before: Counts | None, counts: Counts, at: float) -> Counts:
        """Return the counts, corrected if they are older than `before`, the last ones."""

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
        """Process counts that `in_order` returned; return what moved, None if unknown.

        `every_message` is False if the counts are known to miss messages.
        """

    @abstractmethod
    def observe_depth(self, held: int, now: float, *, old: float, is_back: bool) -> int:
        """Set the number of messages in the place `old` seconds ago, deferred ones included.

        `is_back` is whether earlier readings failed or the last one is too old. Returns how many
        messages must have entered that the flow did not know.
        """

    @abstractmethod
    def estimate(self, waiting: PlaceBacklog, now: float) -> float | None:
        """Return the age of the oldest waiting message by the arrival curve; None if unknown.

        Deferred messages are skipped: they are not lag, and others overtake them.
        """

    def end_curve(self) -> None:
        """The counts no longer include what enters: drop the arrival curve."""
        self._curve = None

    def _begin(self, counts: Counts, waiting: PlaceBacklog, at: float) -> None:
        """Start to follow the counts."""
        self._arrivals = Arrivals(counts.outstanding)
        self.left = self._counted_left = 0
        self._curve = _new_curve(counts.outstanding, waiting.empty_at, at)

    def _depart(self, curve: ArrivalCurve, moved: Moved, deferred: int, at: float) -> None:
        """Note which messages left since the last counts, and how long the last one waited."""
        self.is_moving = self.left > self._counted_left
        self._counted_left = self.left
        if self.is_moving:
            enqueued_at = curve.time_of(self.left + deferred)
            self._waited = None if enqueued_at is None else (at, max(at - enqueued_at, 0.0))
        if moved.consumed > 0 and self._waited is not None:
            # The backlog is read more often than the counts: messages may leave before they count.
            left_at, waited = self._waited
            if at - left_at < TOO_OLD:
                moved.latency = waited
            self._waited = None


def movement(before: Counts, now: Counts, processed: tuple[int | None, int | None]) -> Moved:
    """Return how many messages were published, consumed and redelivered between two polls.

    `processed` is the number of processed messages at each of them.
    """
    if now.epoch != before.epoch:
        return Moved(0, 0, 0)
    return Moved(
        forward(before.enqueued, now.enqueued),
        forward(*processed),
        forward(before.redelivered, now.redelivered),
    )


def forward(before: int | None, now: int | None) -> int:
    """Return the increase of a counter; 0 if it fell, because it was reset or lost a part."""
    return 0 if before is None or now is None else max(now - before, 0)


def _new_curve(outstanding: int, empty_at: float | None, at: float) -> ArrivalCurve:
    """Begin a curve. Messages that wait now were enqueued after the place was last empty."""
    if empty_at is None or empty_at >= at:
        return ArrivalCurve(at, outstanding)
    curve = ArrivalCurve(empty_at, 0)
    curve.add(at, outstanding)
    return curve
