"""Everything known about a source whose destinations are queues.

Not thread-safe: the owner holds a lock around each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.analysis.histogram import Histogram
from exporter.analysis.nodes import Labeler, Node, follow_nodes
from exporter.analysis.queues.destinations import Destinations
from exporter.analysis.queues.flow import Moved
from exporter.analysis.queues.labels import labels_of
from exporter.analysis.queues.place import QueuePlace
from exporter.analysis.queues.subscription import QueueSubscription
from exporter.analysis.rates import CounterTable
from exporter.analysis.state import StateSettings
from exporter.catalogue import LATENCY_BUCKETS, LOSSES
from exporter.model import (
    Counts,
    Place,
    Produced,
    QueueBacklog,
    QueueCounts,
    StreamOffsets,
)

GONE_AFTER = 2
"""Something is deleted after this many consecutive complete polls without it."""
SubscriptionKey = tuple[str | None, str, str | None]
"""vhost, destination, group."""


@dataclass
class QueueState:
    """Destinations and subscriptions of one source."""

    labeler: Labeler
    settings: StateSettings
    subscriptions: dict[SubscriptionKey, QueueSubscription] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    alarms: Sequence[str] = ()
    notices: Sequence[str] = ()
    losses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LOSSES, 0))
    settling: int = 0
    """Number of next polls in which something missing was deselected and is no loss."""

    def __post_init__(self) -> None:
        self.destinations = Destinations(self.labeler, self.rate_window)
        self.produced = CounterTable(self.rate_window)
        self.consumed = CounterTable(self.rate_window)
        self._latencies = 0
        self._complete: set[str | None] = set()
        """Partitions that were read completely in an earlier poll; {None}: the whole source."""

    @property
    def rate_window(self) -> float:
        """Seconds over which rates are computed."""
        return self.settings.rate_window

    def configure(self, settings: StateSettings) -> None:
        """Use other settings from now on."""
        self.settings = settings
        for table in (self.destinations.produced, self.produced, self.consumed):
            table.set_window(settings.rate_window)

    def reselect(self) -> None:
        """Other queues or channels were selected: what the next polls lack is not lost."""
        self.settling = GONE_AFTER + 1
        self._complete.clear()

    def observe(self, backlog: QueueBacklog) -> None:
        """Add a poll of the queues, including the counts if they are part of it."""
        now = backlog.at
        if backlog.nodes is not None:
            follow_nodes(self.nodes, backlog.nodes, self.labeler, now, backlog.roster)
        self.alarms = backlog.alarms
        self.notices = backlog.notices
        seen = {depth.place for depth in backlog.depths}
        for depth in backlog.depths:
            came = self._place(depth.place, now).observe_depth(depth, now)
            if came:
                self._add_uncounted(depth.place, came, now)
        for produced in backlog.produced:
            self.destinations.count(produced, now)
        self._count_all(backlog.counts, now)
        self._set_offsets(backlog.streams)
        self._forget(backlog, seen)
        self._sample(backlog.counts, backlog.produced, now)
        self.settling = max(self.settling - 1, 0)
        self._complete |= backlog.whole

    def observe_counts(self, counts: QueueCounts) -> None:
        """Add the brokers' counts if they are read separately from the backlog."""
        self._count_all(counts.counts, counts.at)
        for produced in counts.produced:
            self.destinations.count(produced, counts.at)
        self._set_offsets(counts.streams)
        self.destinations.set_sizes(counts.sizes)
        self._sample(counts.counts, counts.produced, counts.at)

    # Places

    def _place(self, place: Place, now: float) -> QueuePlace:
        vhost, destination, group, partition = place
        subscription = self.subscriptions.get((vhost, destination, group))
        if subscription is None:
            is_new = partition in self._complete
            subscription = self._new_subscription(vhost, destination, group, now, is_new=is_new)
        found = subscription.places.get(partition)
        if found is None:
            labels = labels_of(vhost, destination, group, partition)
            found = QueuePlace(partition, self.labeler(labels), now)
            subscription.places[partition] = found
        return found

    def _new_subscription(
        self,
        vhost: str | None,
        destination: str,
        group: str | None,
        now: float,
        *,
        is_new: bool,
    ) -> QueueSubscription:
        subscription = QueueSubscription(
            self.destinations.queue(vhost, destination),
            group,
            self.labeler(labels_of(vhost, destination, group)),
            consumed=self.consumed,
            produced=self.produced,
            now=now,
            is_new=is_new,
        )
        self.subscriptions[vhost, destination, group] = subscription
        return subscription

    # Counts

    def _add_uncounted(self, place: Place, count: int, now: float) -> None:
        """Count messages that entered without being counted by the broker, or before it did."""
        subscription = self.subscriptions[place[:3]]
        moved = Moved(count, 0, 0)
        subscription.count(moved, now)
        if place.group is None and place.partition is None:
            self.destinations.add(subscription.queue, count, now)

    def _count_all(self, counts: Sequence[Counts], at: float) -> None:
        touched: dict[SubscriptionKey, tuple[bool, bool, int]] = {}
        for each in counts:
            vhost, destination, group, partition = each.place
            key = (vhost, destination, group)
            subscription = self.subscriptions.get(key)
            place = subscription.places.get(partition) if subscription is not None else None
            if subscription is None or place is None:
                continue  # the place is not known yet: the next poll has both
            moved = place.observe_counts(each, at)
            if moved is None:
                continue
            subscription.count(moved, at)
            self._observe_latency(subscription, moved)
            if group is None and partition is None and each.replay is None:
                partition_of_queue = self.destinations.add(subscription.queue, moved.produced, at)
                produced = place.accounting.produced
                partition_of_queue.counted = produced.known
                partition_of_queue.rated = produced.is_complete(at, self.rate_window)
            has_moved, waits, left = touched.get(key, (False, False, 0))
            has_moved = has_moved or moved.consumed > 0 or moved.left > 0
            touched[key] = (has_moved, waits or bool(place.lag), left + moved.left)
        for key, (has_moved, waits, left) in touched.items():
            subscription = self.subscriptions[key]
            subscription.commit_gaps.observe(at, moved=has_moved, waiting=waits)
            subscription.account(at, left, self.rate_window)

    def _observe_latency(self, subscription: QueueSubscription, moved: Moved) -> None:
        if moved.latency is None:
            return
        if subscription.latency is None:
            group = subscription.group
            named = self._is_named(subscription)
            if not named and self._latencies >= self.settings.latency_limit:
                return
            self._latencies += not named
            labels = labels_of(subscription.queue.vhost, subscription.queue.name, group)
            subscription.latency = Histogram(LATENCY_BUCKETS, self.labeler, labels)
        subscription.latency.observe(moved.latency)

    def _is_named(self, subscription: QueueSubscription) -> bool:
        """Return whether the config names its group: its histogram does not count to the limit."""
        return subscription.group is not None and self.settings.latency_group(subscription.group)

    def _set_offsets(self, streams: Sequence[StreamOffsets]) -> None:
        for each in streams:
            self.destinations.set_offsets(each)
            vhost, destination, group, partition = each.place
            subscription = self.subscriptions.get((vhost, destination, group))
            place = subscription.places.get(partition) if subscription is not None else None
            if place is not None:
                place.committed, place.is_upper_bound = each.committed, each.is_upper_bound

    def _sample(self, counts: Sequence[Counts], produced: Sequence[Produced], now: float) -> None:
        """Compute the rates of what this poll counted; others keep theirs."""
        if not counts and not produced:
            return
        counted = {each.place[:3] for each in counts}
        stale = [sub for key, sub in self.subscriptions.items() if key not in counted]
        self.produced.sample(now, {sub.produced_slot for sub in stale})
        self.consumed.sample(now, {sub.consumed_slot for sub in stale})
        self.destinations.sample(now)

    # What is gone

    def _forget(self, backlog: QueueBacklog, seen: set[Place]) -> None:
        for key, subscription in list(self.subscriptions.items()):
            for partition, place in list(subscription.places.items()):
                if partition in backlog.vanished:
                    self._drop_place(key, partition, "node_gone")
                elif partition in backlog.whole and Place(*key, partition) not in seen:
                    place.missing += 1
                    if place.missing >= GONE_AFTER:
                        self._drop_place(key, partition, self._reason(key))
        used = set(backlog.destinations)
        for (vhost, destination, _), subscription in self.subscriptions.items():
            used.update((vhost, destination, partition) for partition in subscription.places)
        self.destinations.forget(backlog, used)

    def _reason(self, key: SubscriptionKey) -> str | None:
        """Return why something is gone; None if a topic's first channel took over its messages."""
        vhost, destination, group = key
        taken_over = group is None and any(
            other.group is not None
            for other in self.subscriptions.values()
            if (other.queue.vhost, other.queue.name) == (vhost, destination)
        )
        return None if taken_over else "deleted"

    def _drop_place(self, key: SubscriptionKey, partition: str | None, reason: str | None) -> None:
        subscription = self.subscriptions[key]
        place = subscription.places.pop(partition)
        if reason is not None and place.lag and not self.settling:
            self.losses[reason] += 1
        if not subscription.places:
            del self.subscriptions[key]
            self._latencies -= subscription.latency is not None and not self._is_named(subscription)
            subscription.release()
