"""Judges every subscription of a source after a look at it: what is known of each, as a `Sight`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exporter.analysis.commits import STOP_SECONDS
from exporter.analysis.group import REBALANCING, Group
from exporter.analysis.history import Point
from exporter.analysis.judge import MEMORY
from exporter.analysis.log_state import LogState
from exporter.analysis.queue_state import QueueState
from exporter.analysis.queue_subscription import QueueSubscription
from exporter.analysis.recent import PARTS
from exporter.analysis.sight import Part, Sight
from exporter.analysis.subscription import LogSubscription
from exporter.analysis.thresholds import ThresholdTable
from exporter.model import STATUSES

WITHHELD = 0.5
"""Part of a backlog that has to stand behind open transactions for these to be why it is there."""


class Judging:
    """Judges the subscriptions of one source by one table of thresholds."""

    def __init__(
        self, system: str, source: str, table: ThresholdTable, hold: float = 120.0
    ) -> None:
        """`hold` is for how many seconds a value that can no longer be read stands for the present one."""
        self._names = (system, source)
        self._hold = hold
        self._table = table
        self._stale = True

    def set_table(self, table: ThresholdTable) -> None:
        """Use other thresholds from the next look on."""
        self._table = table
        self._stale = True

    @property
    def probe_seconds(self) -> float | None:
        """The threshold of the source's probes; None where it is switched off."""
        return self._table.of_source(*self._names).probe_seconds

    def judge(self, state: LogState | QueueState, now: float, clock: float) -> None:
        """Judge what was read at `now`; `clock` is the same moment in Unix time."""
        if isinstance(state, LogState):
            self._logs(state, now, clock)
        else:
            self._queues(state, now, clock)
        self._stale = False

    def _logs(self, state: LogState, now: float, clock: float) -> None:
        span = MEMORY * state.rate_window
        for group in state.groups.values():
            group.judged(now)
            group.recent.look(now, group.rebalances, span)
        for subscription in state.subscriptions.values():
            if self._stale or not subscription.judge.labels:
                self._prepare(subscription, None, subscription.topic.name)
            if subscription.read_at == now:
                group_state = state.groups.get(subscription.group)
                sight = _log_sight(subscription, group_state, span, self._hold, now, clock)
                _look(subscription, sight, state.rate_window)

    def _queues(self, state: QueueState, now: float, clock: float) -> None:
        for subscription in state.subscriptions.values():
            if self._stale or not subscription.judge.labels:
                queue = subscription.queue
                self._prepare(subscription, queue.vhost, queue.name)
            if any(place.read_at == now for place in subscription.places.values()):
                sight = _queue_sight(subscription, state, self._hold, now, clock)
                _look(subscription, sight, state.rate_window)

    def _prepare(
        self, subscription: LogSubscription | QueueSubscription, vhost: str | None, destination: str
    ) -> None:
        judge = subscription.judge
        found = self._table.of_subscription(*self._names, vhost, destination, subscription.group)
        judge.thresholds = found
        subscription.gaps.configured = found.stop_seconds or STOP_SECONDS
        if not judge.labels:
            head = subscription.label.removesuffix("} ")
            judge.labels = tuple(f'{head},status="{status}"}} ' for status in STATUSES)


def _look(
    subscription: LogSubscription | QueueSubscription, sight: Sight, rate_window: float
) -> None:
    subscription.judge.look(sight, subscription.judge.thresholds, rate_window)
    point = Point(sight.lag, sight.age, sight.produced_rate, sight.consumed_rate)
    subscription.history.look(sight.at, point)


def _log_sight(
    sub: LogSubscription, group: Group | None, span: float, hold: float, now: float, clock: float
) -> Sight:
    unreadable = sub.unreadable(hold, now)
    whole = not unreadable
    uncommitted = sub.uncommitted(hold, now)
    unassigned = uncommitted.unassigned if uncommitted is not None else ()
    return Sight(
        at=now,
        clock=clock,
        lag=sub.total_lag() if whole and sub.has_position else None,
        age=sub.ages.largest() if whole else None,
        commit_interval=sub.gaps.longest,
        stop=sub.gaps.stop,
        consumed=sub.consumed.values[sub.consumed_slot],
        produced=sub.produced.values[sub.produced_slot],
        redelivered=0,
        rewinds=sub.rewinds,
        consumed_rate=sub.consumed.rates[sub.consumed_slot] if whole else None,
        produced_rate=sub.produced.rates[sub.produced_slot] if whole else None,
        consumers=sub.consumers,
        unreadable=unreadable,
        uncommitted=None if uncommitted is None else uncommitted.messages,
        unassigned=0 if uncommitted is None else uncommitted.unassigned_messages,
        unassigned_to=[str(partition) for partition in unassigned],
        has_position=sub.has_position,
        had_position=sub.had_position,
        past_end=sub.past_end.messages,
        behind_its_place=sub.is_rewound,
        read_by_nobody=group is not None and _reads_elsewhere(sub, group),
        members=None if group is None else group.members,
        rebalancing=group is not None and group.state in REBALANCING,
        rebalancing_since=None if group is None else group.rebalancing_since,
        rejoining=None if group is None else group.rejoining,
        rebalances=0 if group is None else group.recent.count,
        rebalanced_for=span,
        rebalance_times=_restless(group, span, now),
        size=sub.topic.size.mean,
        parts=lambda: [
            Part(f"partition {partition}", lag or 0, now - moved_at)
            for partition, lag, moved_at in zip(sub.partitions, sub.lag, sub.moved_at, strict=True)
        ],
        places=None if group is not None and group.shared else sub.topic.partitions,
        withheld=lambda: _withheld(sub),
    )


def _reads_elsewhere(sub: LogSubscription, group: Group) -> bool:
    """Whether the group's members are known to read, and none of them here."""
    readers = group.readers
    return (
        bool(group.members)
        and bool(sub.partitions)
        and group.state not in REBALANCING
        and readers is not None
        and not readers.get(sub.topic.name)
        and any(readers.values())
    )


def _restless(group: Group | None, span: float, now: float) -> int:
    """In how many parts of the time the group rebalanced, if it did so a moment ago."""
    if group is None or group.recent.last is None or now - group.recent.last > 4 * span / PARTS:
        return 0
    return group.recent.times


def _withheld(sub: LogSubscription) -> tuple[str, int] | None:
    """Where the position stands at a last stable offset below the end, if that is most of the backlog."""
    topic = sub.topic
    messages, where = 0, []
    for partition, position in zip(sub.partitions, sub.committed, strict=True):
        if partition >= topic.partitions:
            continue
        stable, end = topic.stable[partition], topic.end[partition]
        if stable is None or end is None or position is None:
            continue
        if stable < end and position >= stable:
            messages += end - stable
            where.append(partition)
    if messages <= WITHHELD * sub.total_lag() or not messages:
        return None
    named = ", ".join(map(str, where[:3])) + (" and others" if len(where) > 3 else "")  # noqa: PLR2004
    return f"partition{'s' if len(where) > 1 else ''} {named}", messages


def _queue_sight(
    sub: QueueSubscription, state: QueueState, hold: float, now: float, clock: float
) -> Sight:
    unreadable = sub.unreadable(hold, now)
    whole = not unreadable
    ages, _ = sub.ages(hold, now, state.wanted)
    aged = [age for age in ages if age is not None]
    counted = sub.counted
    return Sight(
        at=now,
        clock=clock,
        lag=sub.total_lag() if whole else None,
        age=max(aged) if whole and len(aged) == len(ages) and aged else None,
        commit_interval=sub.gaps.longest,
        stop=sub.gaps.stop,
        consumed=sub.consumed.values[sub.consumed_slot] if counted else None,
        produced=sub.produced.values[sub.produced_slot] if counted else None,
        redelivered=sub.redelivered or 0,
        rewinds=0,
        consumed_rate=sub.consumed_rate if whole else None,
        produced_rate=sub.produced_rate if whole else None,
        consumers=sub.consumers() if whole else None,
        deferred=sub.deferred() or 0,
        unreadable=unreadable,
        uncounted=not sub.consumed_known,
        activity=sub.activity,
        least_consumed_rate=sub.least_consumed_rate,
        size=sub.queue.mean_size,
        parts=_parts(sub),
        paused=_paused(sub),
        alarms=state.alarms,
    )


def _parts(sub: QueueSubscription) -> Callable[[], Sequence[Part]]:
    return lambda: [
        Part(
            f"{'nsqd' if place.committed is None else 'partition'} {place.partition}",
            place.lag or 0,
        )
        for place in sub.places.values()
        if place.partition is not None
    ]


def _paused(sub: QueueSubscription) -> Sequence[str]:
    where = [place.partition or "" for place in sub.places.values() if place.paused]
    if not where:
        return ()
    what = "the topic" if sub.group is None else "the channel or its topic"
    return (f"{what} is paused on {', '.join(where)}",)
