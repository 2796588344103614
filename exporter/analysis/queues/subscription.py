"""The state of one subscription of a queue source: its places and its counters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from exporter.analysis.histogram import Histogram
from exporter.analysis.history import History
from exporter.analysis.queues.accounting import UncountedOutflow
from exporter.analysis.queues.destinations import QueueDestination
from exporter.analysis.queues.flow import Moved
from exporter.analysis.queues.place import QueuePlace
from exporter.analysis.rates import CounterTable
from exporter.analysis.scaled import Scaled
from exporter.judgement.commit_gaps import CommitGaps
from exporter.judgement.judge import Judge
from exporter.model import Method


class QueueSubscription:
    """Follows the consumers of one queue, or one channel, from poll to poll."""

    __slots__ = (
        "commit_gaps",
        "consumed",
        "consumed_known",
        "consumed_rated",
        "consumed_slot",
        "counted",
        "group",
        "history",
        "is_new",
        "judge",
        "label",
        "latency",
        "places",
        "produced",
        "produced_known",
        "produced_rated",
        "produced_slot",
        "queue",
        "redelivered",
        "scaled",
        "shown",
        "uncounted",
    )

    def __init__(
        self,
        queue: QueueDestination,
        group: str | None,
        label: str,
        *,
        consumed: CounterTable,
        produced: CounterTable,
        now: float,
        is_new: bool = False,
    ) -> None:
        self.queue: Final = queue
        self.group: Final = group
        self.label: Final = label
        """Text of the subscription's labels."""
        self.consumed: Final = consumed
        self.produced: Final = produced
        self.consumed_slot: Final = consumed.allocate(now)
        self.produced_slot: Final = produced.allocate(now)
        self.places: dict[str | None, QueuePlace] = {}
        self.commit_gaps: Final = CommitGaps()
        self.judge: Final = Judge()
        self.history: Final = History()
        self.scaled: Scaled | None = None
        """The scaling advice; None if nothing is advised."""
        self.latency: Histogram | None = None
        """Latencies of consumed messages; None if they are not measured."""
        self.redelivered: int | None = None
        self.counted = False
        """Whether there are counts, so that there are counters and rates."""
        self.consumed_known = self.consumed_rated = True
        """Whether the broker counts consumption now, and has done so over the whole rate window."""
        self.produced_known = self.produced_rated = True
        """The same for production."""
        self.uncounted: UncountedOutflow | None = None
        """Messages that left without being counted; None if all are counted."""
        self.shown = False
        self.is_new: Final = is_new
        """Whether it was created while the exporter ran: earlier polls were complete without it."""

    @property
    def vhost(self) -> str | None:
        """The queue's virtual host; None if the system has none."""
        return self.queue.vhost

    @property
    def destination(self) -> str:
        """The name of the queue, or of the channel's topic."""
        return self.queue.name

    def count(self, moved: Moved, at: float) -> None:
        """Add what moved in one of its places. The time for rates begins with the first call."""
        if not self.counted:
            self.counted = True
            self.consumed.begin(self.consumed_slot, at)
            self.produced.begin(self.produced_slot, at)
        self.consumed.values[self.consumed_slot] += moved.consumed
        self.produced.values[self.produced_slot] += moved.produced
        self.redelivered = (self.redelivered or 0) + moved.redelivered

    def account(self, at: float, left: int, window: float) -> None:
        """Update what is counted, after a poll in which `left` messages left uncounted."""
        accounts = [place.accounting for place in self._places()]
        self.consumed_known = all(each.consumed.known for each in accounts)
        self.produced_known = all(each.produced.known for each in accounts)
        self.consumed_rated = all(each.consumed.is_complete(at, window) for each in accounts)
        self.produced_rated = all(each.produced.is_complete(at, window) for each in accounts)
        if self.consumed_known:
            self.uncounted = None
            return
        if self.uncounted is None:
            self.uncounted = UncountedOutflow(at)
            left = 0
        self.uncounted.add(at, left, window)

    @property
    def consumed_rate(self) -> float | None:
        """Messages a second; None if some are not counted."""
        rated = self.counted and self.consumed_rated
        return self.consumed.rates[self.consumed_slot] if rated else None

    @property
    def produced_rate(self) -> float | None:
        """Messages a second; None if some are not counted."""
        rated = self.counted and self.produced_rated
        return self.produced.rates[self.produced_slot] if rated else None

    @property
    def consumed_total(self) -> int | None:
        """Messages since the first poll; None if some are not counted."""
        counted = self.counted and self.consumed_known
        return self.consumed.values[self.consumed_slot] if counted else None

    @property
    def produced_total(self) -> int | None:
        """Messages since the first poll; None if some are not counted."""
        counted = self.counted and self.produced_known
        return self.produced.values[self.produced_slot] if counted else None

    @property
    def least_consumed_rate(self) -> float | None:
        """Lower bound on messages consumed a second, if consumption is not counted."""
        return None if self.uncounted is None else self.uncounted.rate()

    @property
    def activity(self) -> int:
        """A number that changes when messages leave or are delivered to consumers."""
        return sum(place.activity for place in self._places())

    def lags(self, hold: float, now: float) -> list[int | None]:
        """Return the lag by place; None for a place unreadable for longer than `hold`."""
        return [place.lag if now - place.read_at <= hold else None for place in self._places()]

    def unreadable(self, hold: float, now: float) -> int:
        """Count the places unreadable for longer than `hold`."""
        return sum(lag is None for lag in self.lags(hold, now))

    def total_lag(self) -> int:
        """Return the sum of known lags, to rank subscriptions. It may be too small or outdated."""
        return sum(place.lag or 0 for place in self._places())

    def ages(
        self, hold: float, now: float, wanted: Method | None
    ) -> tuple[list[float | None], Method]:
        """Return the ages by place, and the method of the largest."""
        found: list[float | None] = []
        method: Method = "estimate"
        largest = -1.0
        for place in self._places():
            expired = now - max(place.read_at, place.counted_at) > hold
            age = None if expired else place.age(now, wanted)
            found.append(age)
            if age is not None and age > largest:
                largest, method = age, place.method
        return found, method

    def consumers(self) -> int | None:
        """Return the number of consumers; None if it is unknown for a place."""
        found = [place.consumers for place in self._places()]
        known = [count for count in found if count is not None]
        return sum(known) if found and len(known) == len(found) else None

    def workers(self) -> int | None:
        """Return the number of consumers, each counted once even if it reads several places.

        None if it is unknown for a place.
        """
        if not all(place.shared_consumers for place in self._places()):
            return self.consumers()
        found = [place.consumers for place in self._places()]
        return None if not found or None in found else max(filter(None, found), default=0)

    def most_consumers(self) -> int | None:
        """Return how many consumers can share the work; None if there is no limit."""
        places = list(self._places())
        alone = [place.single_consumer or place.committed is not None for place in places]
        return len(places) if places and all(alone) else None

    def in_flight(self) -> int | None:
        """Return the messages that consumers hold; None if unknown for a place."""
        found = [place.unacknowledged for place in self._places()]
        return None if not found or None in found else sum(filter(None, found))

    def deferred(self) -> int | None:
        """Return the messages held back for later, of the places where they are counted."""
        known = [place.deferred for place in self._places() if place.deferred is not None]
        return sum(known) if known else None

    def dropped(self) -> int | None:
        """Return the messages that left without being consumed; None if unknown."""
        known = [place.dropped for place in self._places() if place.dropped is not None]
        return sum(known) if known else None

    @property
    def is_upper_bound(self) -> bool:
        """Whether the lag includes offsets that may have no message."""
        return any(place.is_upper_bound for place in self._places())

    @property
    def paused(self) -> bool:
        """Whether one of its places is paused."""
        return any(place.paused for place in self._places())

    def release(self) -> None:
        """Free the slots of its counters."""
        self.consumed.release(self.consumed_slot)
        self.produced.release(self.produced_slot)

    def _places(self) -> Iterable[QueuePlace]:
        return self.places.values()
