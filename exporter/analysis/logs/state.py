"""Everything known about a source whose destinations are logs.

Not thread-safe: the owner holds a lock around each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from exporter.analysis.histogram import Histogram
from exporter.analysis.logs.group import Group, describe_groups, follow_groups
from exporter.analysis.logs.subscription import NOTHING_DRAINED, LogSubscription
from exporter.analysis.logs.time_to_loss import time_to_loss
from exporter.analysis.logs.topic import GONE_AFTER, LogTopic, follow_topics, partition_labels
from exporter.analysis.nodes import Labeler, Node, follow_nodes
from exporter.analysis.rates import CounterTable
from exporter.analysis.state import StateSettings
from exporter.catalogue import ANOMALIES, LATENCY_BUCKETS, LOSSES
from exporter.model import (
    TIMESTAMP_ANOMALIES,
    CommitStreamReport,
    LogBacklog,
    LogTimes,
    Memberships,
    Positions,
    Retention,
    Stamps,
)


@dataclass
class LogState:
    """Topics, groups and subscriptions of one source."""

    labeler: Labeler
    settings: StateSettings
    topics: dict[str, LogTopic] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    subscriptions: dict[tuple[str, str], LogSubscription] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    settling: int = 0
    """Number of next polls in which something missing was deselected and is no loss."""
    losses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LOSSES, 0))
    timestamp_anomalies: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(TIMESTAMP_ANOMALIES, 0)
    )
    groups_not_shown: Mapping[str, int] = field(default_factory=dict)
    """Kind to the number of groups that cannot be read."""
    commit_stream: CommitStreamReport | None = None
    generation: int = 0
    """Increases when a subscription is dropped."""

    def __post_init__(self) -> None:
        self.topic_produced = CounterTable(self.rate_window)
        self.produced = CounterTable(self.rate_window)
        self.consumed = CounterTable(self.rate_window)
        self._vague: frozenset[tuple[str, str]] = frozenset()
        self._counts_generations = False

    @property
    def rate_window(self) -> float:
        """Seconds over which rates are computed."""
        return self.settings.rate_window

    def configure(self, settings: StateSettings) -> None:
        """Use other settings from now on. The collector chooses methods and latencies of logs."""
        self.settings = settings
        for table in (self.topic_produced, self.produced, self.consumed):
            table.set_window(settings.rate_window)

    def observe(self, backlog: LogBacklog, now: float) -> None:
        """Add a poll of the whole source; `now` in monotonic seconds."""
        follow_nodes(self.nodes, backlog.nodes, self.labeler, now, backlog.roster)
        self.groups_not_shown = backlog.groups_not_shown
        self.commit_stream = backlog.commit_stream
        self._vague = backlog.vague
        self._update_topics(backlog, now)
        known = list(self.subscriptions.values())
        for subscription in known:
            subscription.add_produced()
        self._update_groups(backlog, now)
        with_holes = {topic for topic, _, _ in backlog.drained}
        for group, positions in backlog.positions.items():
            # A share group may still have unprocessed records before its position.
            holes = frozenset() if group in backlog.shared else with_holes
            self._update_positions(group, positions, backlog, holes, now)
        self._update_unread(backlog, now)
        self._assign(now)
        self._sample(backlog, now)
        self.settling = max(self.settling - 1, 0)

    def reselect(self) -> None:
        """Other topics or groups were selected: what the next polls lack is not lost."""
        self.settling = GONE_AFTER + 1

    def observe_members(self, memberships: Memberships, now: float) -> None:
        """Add descriptions of groups."""
        describe_groups(self.groups, memberships, self.labeler, now)
        self._assign(now)

    def set_retention(self, known: Mapping[str, Retention]) -> None:
        """Set when messages are deleted, by destination."""
        for name, topic in self.topics.items():
            topic.retention = known.get(name)

    def observe_times(self, times: LogTimes, now: float, hold: float) -> None:
        """Add a poll of enqueue times. An unknown age keeps its value for `hold` seconds."""
        for key, subscription in self.subscriptions.items():
            positions = subscription.positions
            lags = positions.visible(positions.lag, hold, now)
            subscription.ages.set_times(
                positions.partitions,
                positions.labels,
                lags,
                _stamps(key, times, self._vague),
                at=times.at,
                now=now,
                hold=hold,
            )
            subscription.time_to_loss = time_to_loss(subscription, lags)
        for key, latencies in times.latencies.items():
            known = self.subscriptions.get(key)
            if known is not None:
                _observe_latencies(known, latencies, self.labeler)
        for name, (count, total) in times.sizes.items():
            topic = self.topics.get(name)
            if topic is not None:
                topic.size.add(count, total)
        for kind, count in times.anomalies.items():
            self.timestamp_anomalies[kind] += count

    # Destinations

    def _update_topics(self, backlog: LogBacklog, now: float) -> None:
        for name in backlog.recreated:
            self._restart(name)
        for topic in follow_topics(self.topics, backlog, self._new_topic, now):
            for key in [key for key, sub in self.subscriptions.items() if sub.topic is topic]:
                self._drop_subscription(key, "deleted")
            topic.release()

    def _new_topic(self, name: str) -> LogTopic:
        labels = {"destination": name}
        partition_label = partition_labels(self.labeler, labels)
        return LogTopic(name, self.labeler(labels), self.topic_produced, partition_label)

    def _restart(self, name: str) -> None:
        topic = self.topics.get(name)
        if topic is None:
            return
        topic.restart()
        for subscription in self.subscriptions.values():
            if subscription.topic is topic:
                subscription.restart()

    # Groups

    def _update_groups(self, backlog: LogBacklog, now: float) -> None:
        report = backlog.commit_stream
        if self._counts_generations and (report is None or not report.following):
            for group in self.groups.values():
                group.observe_generations(None)
        self._counts_generations = report is not None and report.following
        for name in follow_groups(self.groups, backlog, self.labeler, now):
            for key in [key for key in self.subscriptions if key[0] == name]:
                self._drop_subscription(key, "deleted")

    # Subscriptions

    def _update_positions(
        self,
        group: str,
        positions: Positions,
        backlog: LogBacklog,
        with_holes: AbstractSet[str],
        now: float,
    ) -> None:
        """Add the offsets of a group. `with_holes` are the destinations in `backlog.drained`."""
        read_committed = group in backlog.read_committed
        for destination, offsets in positions.offsets.items():
            topic = self.topics.get(destination)
            if topic is None:
                continue
            key = (group, destination)
            subscription = self.subscriptions.get(key)
            if subscription is None:
                subscription = self._new_subscription(group, topic, now)
            subscription.missing = 0
            subscription.incidents.orphan(orphaned=topic.missing > 0)
            subscription.advance(
                offsets,
                read_committed=read_committed,
                drained=backlog.drained if destination in with_holes else NOTHING_DRAINED,
                now=now,
                commits=backlog.spans.get(key),
                repeated=backlog.repeated.get(key, ()),
            )

    def _update_unread(self, backlog: LogBacklog, now: float) -> None:
        """Keep subscriptions that this poll could not read; drop those that no longer exist."""
        for key, subscription in list(self.subscriptions.items()):
            group, destination = key
            positions = backlog.positions.get(group)
            if positions is None:
                subscription.mark_stale()
            elif destination not in positions.offsets:
                subscription.missing += 1
                if not subscription.has_position:
                    subscription.read_at = now  # the group was read
                    if subscription.missing >= GONE_AFTER and not self._reads(group, destination):
                        self._drop_subscription(key, "expired")
                elif subscription.missing >= GONE_AFTER:
                    self._forget_positions(key)
                else:
                    subscription.mark_stale()

    def _forget_positions(self, key: tuple[str, str]) -> None:
        if not self._reads(*key):
            self._drop_subscription(key, "expired")
            return
        subscription = self.subscriptions[key]
        self._count_loss(subscription, "expired")
        subscription.clear()

    def _reads(self, group: str, destination: str) -> bool:
        known = self.groups.get(group)
        return known is not None and bool(known.assigned.get(destination))

    def _new_subscription(self, group: str, topic: LogTopic, now: float) -> LogSubscription:
        labels = {"destination": topic.name, "group": group}
        subscription = LogSubscription(
            group,
            topic,
            consumed=self.consumed,
            produced=self.produced,
            label=self.labeler(labels),
            anomaly_labels=tuple(self.labeler({**labels, "kind": kind}) for kind in ANOMALIES),
            partition_label=partition_labels(self.labeler, labels),
            now=now,
        )
        self.subscriptions[group, topic.name] = subscription
        return subscription

    def _drop_subscription(self, key: tuple[str, str], reason: str) -> None:
        subscription = self.subscriptions.pop(key)
        self.generation += 1
        self._count_loss(subscription, reason)
        subscription.release()

    def _count_loss(self, subscription: LogSubscription, reason: str) -> None:
        if subscription.total_lag() > 0 and not self.settling:
            self.losses[reason] += 1

    # Members

    def _assign(self, now: float) -> None:
        """Pass the members' assignment to the subscriptions; add those without an offset."""
        for group in self.groups.values():
            for destination in group.assigned:
                topic = self.topics.get(destination)
                if topic is not None and (group.name, destination) not in self.subscriptions:
                    self._new_subscription(group.name, topic, now)
        for (name, destination), subscription in self.subscriptions.items():
            known = self.groups.get(name)
            if known is None or known.readers is None:
                subscription.assign(None, None)
            else:
                subscription.assign(
                    known.readers.get(destination, 0),
                    known.assigned.get(destination, frozenset()),
                    subscribes=known.subscribes and not known.members,
                )

    # Rates

    def _sample(self, backlog: LogBacklog, now: float) -> None:
        stale_partitions = {slot for topic in self.topics.values() for slot in topic.stale_slots()}
        self.topic_produced.sample(now, stale_partitions)
        self.produced.sample(
            now,
            {sub.produced_slot for sub in self.subscriptions.values() if sub.topic.fresh is None},
        )
        self.consumed.sample(
            now,
            {
                sub.consumed_slot
                for (group, _), sub in self.subscriptions.items()
                if sub.topic.fresh is None or group not in backlog.positions
            },
        )


def _stamps(
    key: tuple[str, str], times: LogTimes, vague: frozenset[tuple[str, str]]
) -> Stamps | None:
    """Return a subscription's times, without error bounds if an older message may exist."""
    found = times.stamps.get(key)
    if found is None or key not in vague:
        return found
    return found._replace(errors=[-1.0] * len(found.errors))


def _observe_latencies(
    subscription: LogSubscription, latencies: Sequence[float], labeler: Labeler
) -> None:
    if subscription.latency is None:
        labels = {"destination": subscription.topic.name, "group": subscription.group}
        subscription.latency = Histogram(LATENCY_BUCKETS, labeler, labels)
    for seconds in latencies:
        subscription.latency.observe(seconds)
