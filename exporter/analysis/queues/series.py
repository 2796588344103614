"""The series of a queue source: for each metric, a list of label texts and a list of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from exporter.analysis.families import (
    Family,
    Shown,
    Value,
    View,
    count_series,
    family,
    flat,
    whole_sum,
    with_label,
)
from exporter.analysis.queues.destinations import QueueDestination, QueuePartition
from exporter.analysis.queues.place import QueuePlace
from exporter.analysis.queues.state import QueueState
from exporter.analysis.queues.subscription import QueueSubscription
from exporter.analysis.rates import CounterTable
from exporter.analysis.series_budget import Budget, Companions, most_lagging_first
from exporter.analysis.shared_series import (
    METHOD_SERIES,
    judgement_families,
    judgement_series,
    losses_family,
)

Subscriptions = Sequence[QueueSubscription]


def show_queues(state: QueueState, view: View, now: float) -> Shown:
    """Return the series at `now`: no value older than `hold`, at most `max_series` series."""
    fresh = [
        subscription
        for subscription in state.subscriptions.values()
        if any(now - place.read_at <= view.hold for place in subscription.places.values())
    ]
    queues, shown, dropped = _chosen(state, fresh, view, now)
    for subscription in fresh:
        subscription.shown = False
    for subscription in shown:
        subscription.shown = True
    families = [
        *_queue_families(queues, state, view, now),
        *_subscription_families(shown, state, view, now),
        losses_family(state.labeler, state.losses),
    ]
    return Shown(families, count_series(families), dropped)


def _chosen(
    state: QueueState, fresh: Subscriptions, view: View, now: float
) -> tuple[Sequence[QueueDestination], Subscriptions, int]:
    """Leave out whole subscriptions, the least lagging first, if there are too many series."""
    every = list(state.destinations.queues.values())
    most = _queues_at_most(every, view) + _at_most(fresh, view) + len(state.losses)
    if most <= view.max_series:
        return every, fresh, 0
    budget = Budget(view.max_series - len(state.losses))
    queues: Companions[QueueDestination] = Companions(
        lambda queue: count_series(_queue_families([queue], state, view, now)), budget, {}
    )
    shown: list[QueueSubscription] = []
    for subscription in most_lagging_first(
        fresh, lag=QueueSubscription.total_lag, shown=lambda each: each.shown
    ):
        own = count_series(_subscription_families([subscription], state, view, now))
        if budget.reserve(own + queues.need(subscription.queue)):
            queues.add(subscription.queue)
            shown.append(subscription)
        else:
            budget.dropped += own
    return queues.fill(every), shown, budget.dropped


# Destinations


_QUEUE_SCALARS: tuple[tuple[str, Callable[[QueueDestination], Value]], ...] = (
    ("mq_message_size_bytes", lambda queue: queue.mean_size),
)
_PARTITION_COLUMNS: tuple[tuple[str, Callable[[QueuePartition, CounterTable], Value]], ...] = (
    ("mq_log_start_offset", lambda partition, _: partition.start),
    ("mq_log_end_offset", lambda partition, _: partition.end),
    (
        "mq_produced_messages_total",
        lambda partition, produced: produced.values[partition.slot] if partition.counted else None,
    ),
    (
        "mq_produced_messages_per_second",
        lambda partition, produced: produced.rates[partition.slot] if partition.rated else None,
    ),
)
"""One value for each partition."""
_TOTALS = frozenset({"mq_produced_messages_total"})
"""Counters: their sums must not fall if a partition of the destination is gone."""


def _queues_at_most(queues: Sequence[QueueDestination], view: View) -> int:
    """Return the maximum number of series of the destinations."""
    partitions = (
        sum(len(queue.partitions) for queue in queues) if view.per_partition else len(queues)
    )
    return len(_PARTITION_COLUMNS) * partitions + len(_QUEUE_SCALARS) * len(queues)


def _queue_families(
    queues: Sequence[QueueDestination], state: QueueState, view: View, now: float
) -> list[Family]:
    produced = state.destinations.produced
    labels = [queue.label for queue in queues]
    families = [
        family(name, labels, [value(queue) for queue in queues]) for name, value in _QUEUE_SCALARS
    ]
    for name, value in _PARTITION_COLUMNS:
        if view.per_partition:
            partitions = [each for queue in queues for each in queue.partitions.values()]
            shown = [
                value(each, produced) if now - each.counted_at <= view.hold else None
                for each in partitions
            ]
            families.append(family(name, [each.label for each in partitions], shown))
            continue
        sums = [
            whole_sum([value(each, produced) for each in queue.partitions.values()])
            for queue in queues
        ]
        if name in _TOTALS:
            sums = [
                None if total is None else total + queue.retired
                for total, queue in zip(sums, queues, strict=True)
            ]
        families.append(family(name, labels, sums))
    return families


def _largest(values: Sequence[float | None]) -> float | None:
    """Return the largest value; None if one is unknown, because it may be larger."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


# Subscriptions

_Scalar = tuple[str, Callable[[QueueSubscription], Value]]

_SCALARS: tuple[_Scalar, ...] = (
    ("mq_lag_upper_bound", lambda sub: 1 if sub.is_upper_bound else None),
    ("mq_subscription_produced_messages_total", lambda sub: sub.produced_total),
    ("mq_consumed_messages_total", lambda sub: sub.consumed_total),
    ("mq_redelivered_messages_total", lambda sub: sub.redelivered),
    ("mq_messages_lost_total", QueueSubscription.dropped),
    (
        "mq_commit_interval_seconds",
        lambda sub: round(sub.commit_gaps.longest, 3) if sub.counted else None,
    ),
)
_OF_THE_WHOLE: tuple[_Scalar, ...] = (
    ("mq_subscription_produced_messages_per_second", lambda sub: sub.produced_rate),
    ("mq_consumed_messages_per_second", lambda sub: sub.consumed_rate),
    ("mq_consumed_messages_per_second_lower_bound", lambda sub: sub.least_consumed_rate),
    ("mq_consumers", QueueSubscription.consumers),
)
"""Absent while one of its places cannot be read, because the number depends on it."""

_UNREADABLE = 1
"""`mq_unreadable_partitions`."""

_DEPTHS: tuple[tuple[str, Callable[[QueuePlace], Value]], ...] = (
    ("mq_lag_messages", lambda place: place.lag),
    ("mq_unacknowledged_messages", lambda place: place.unacknowledged),
    ("mq_deferred_messages", lambda place: place.deferred),
    ("mq_committed_offset", lambda place: place.committed),
)
_AGES_OF_A_PLACE = 1
"""`mq_lag_seconds`."""


def _at_most(subs: Subscriptions, view: View) -> int:
    """Return the maximum number of series of the subscriptions."""
    one = len(_SCALARS) + len(_OF_THE_WHOLE) + _UNREADABLE + METHOD_SERIES + judgement_series()
    places = sum(len(sub.places) for sub in subs) if view.per_partition else len(subs)
    histograms = sum(len(sub.latency.labels) for sub in subs if sub.latency is not None)
    return (len(_DEPTHS) + _AGES_OF_A_PLACE) * places + one * len(subs) + histograms


def _subscription_families(
    subs: Subscriptions, state: QueueState, view: View, now: float
) -> list[Family]:
    labels = [sub.label for sub in subs]
    places = [place for sub in subs for place in sub.places.values()]
    unreadable = [sub.unreadable(view.hold, now) or None for sub in subs]
    families = [
        family("mq_unreadable_partitions", labels, [*unreadable]),
        *(family(name, labels, [value(sub) for sub in subs]) for name, value in _SCALARS),
        *(
            family(
                name,
                labels,
                [
                    None if missing else value(sub)
                    for sub, missing in zip(subs, unreadable, strict=True)
                ],
            )
            for name, value in _OF_THE_WHOLE
        ),
    ]
    for name, depth in _DEPTHS:
        if view.per_partition:
            values = [_fresh(place, depth, view, now) for place in places]
            families.append(family(name, [place.label for place in places], values))
        else:
            sums = [
                whole_sum([_fresh(place, depth, view, now) for place in sub.places.values()])
                for sub in subs
            ]
            families.append(family(name, labels, sums))
    return [*families, *_time_families(subs, state, view, now), *judgement_families(subs)]


def _fresh(
    place: QueuePlace, value: Callable[[QueuePlace], Value], view: View, now: float
) -> Value:
    """Hide what is older than `hold`."""
    return value(place) if now - place.read_at <= view.hold else None


def _time_families(subs: Subscriptions, state: QueueState, view: View, now: float) -> list[Family]:
    found = [sub.ages(view.hold, now, state.settings.method) for sub in subs]
    known = [
        (sub, method)
        for sub, (ages, method) in zip(subs, found, strict=True)
        if any(age is not None for age in ages)
    ]
    followed = [sub.latency for sub in subs if sub.latency is not None]
    return [
        family(
            "mq_lag_seconds",
            [place.label for sub in subs for place in sub.places.values()],
            flat(ages for ages, _ in found),
        )
        if view.per_partition
        else family(
            "mq_lag_seconds", [sub.label for sub in subs], [_largest(ages) for ages, _ in found]
        ),
        Family(
            "mq_lag_seconds_method",
            [with_label(sub.label, "method", method) for sub, method in known],
            [1] * len(known),
        ),
        Family(
            "mq_latency_seconds",
            list(chain.from_iterable(histogram.labels for histogram in followed)),
            flat(histogram.values() for histogram in followed),
        ),
    ]
