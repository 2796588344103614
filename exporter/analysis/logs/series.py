"""What a log source's state shows now: each metric's series, as label texts and values side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
)
from exporter.analysis.logs.group import Group
from exporter.analysis.logs.state import LogState
from exporter.analysis.logs.subscription import LogSubscription
from exporter.analysis.logs.topic import LogTopic
from exporter.analysis.rates import CounterTable
from exporter.analysis.series_budget import Brought, Budget, most_lagging_first
from exporter.analysis.shared_series import JUDGEMENT_SERIES, judgement_families, losses_family
from exporter.catalogue import ANOMALIES, LOSSES
from exporter.model import GROUP_STATES, HIDDEN_KINDS, TIMESTAMP_ANOMALIES


@dataclass(frozen=True, slots=True)
class _Chosen:
    topics: Sequence[LogTopic]
    groups: Sequence[Group]
    subscriptions: Sequence[LogSubscription]
    dropped: int = 0


def show(state: LogState, view: View, now: float) -> Shown:
    """Return what `state` shows at `now`: nothing that is older than `hold`, not more than `max_series`."""
    every = _Chosen(
        list(state.topics.values()),
        [group for group in state.groups.values() if now - group.read_at <= view.hold],
        [sub for sub in state.subscriptions.values() if now - sub.read_at <= view.hold],
    )
    chosen = every if _fits(every, view) else _choose(state, every, view, now)
    for sub in every.subscriptions:
        sub.shown = False
    for sub in chosen.subscriptions:
        sub.shown = True
    families = [
        *_topic_families(chosen.topics, state.topic_produced, view, now),
        *_group_families(chosen.groups),
        losses_family(state.labeler, state.losses),
        _not_shown_family(state),
        *_subscription_families(chosen.subscriptions, view, now),
    ]
    return Shown(families, sum(len(family.labels) for family in families), chosen.dropped)


def _fits(every: _Chosen, view: View) -> bool:
    """Whether all of it fits for certain."""
    most = _TOPIC_SERIES * sum(topic.partitions for topic in every.topics)
    most += len(every.topics) + (2 + len(GROUP_STATES)) * len(every.groups) + _OF_THE_SOURCE
    return most + sum(_at_most(sub, view) for sub in every.subscriptions) <= view.max_series


def _choose(state: LogState, every: _Chosen, view: View, now: float) -> _Chosen:
    """Leave out whole subscriptions, the least lagging first, and topics and groups that none of the shown has.

    A subscription brings its topic's and its group's series along. What room is left goes to other topics, then groups.
    """
    budget = Budget(view.max_series - _OF_THE_SOURCE)
    topics: Brought[LogTopic] = Brought(
        lambda topic: count_series(_topic_families([topic], state.topic_produced, view, now)) + 1,
        budget,
        {},
    )
    groups: Brought[Group] = Brought(
        lambda group: count_series(_group_families([group])), budget, {}
    )
    shown: list[LogSubscription] = []
    for sub in most_lagging_first(
        every.subscriptions, lag=LogSubscription.total_lag, shown=lambda sub: sub.shown
    ):
        group = state.groups.get(sub.group)
        own = _size(sub, view, now)
        if budget.take(own + topics.need(sub.topic) + groups.need(group)):
            topics.add(sub.topic)
            groups.add(group)
            shown.append(sub)
        else:
            budget.dropped += own
    return _Chosen(topics.fill(every.topics), groups.fill(every.groups), shown, budget.dropped)


# Destinations


def _fresh(topic: LogTopic, values: Sequence[Value], view: View, now: float) -> Sequence[Value]:
    """Hide what is older than `hold`; sum up where partitions are not wanted."""
    if not topic.whole:
        values = [
            value if now - read_at <= view.hold else None
            for value, read_at in zip(values, topic.read_at, strict=True)
        ]
    return values if view.per_partition else [whole_sum(values)]


_TOPIC_SERIES = 5
"""Series of a partition, at most; a topic has one of its own besides, its messages' mean size."""
_OF_THE_SOURCE = len(LOSSES) + len(TIMESTAMP_ANOMALIES) + len(HIDDEN_KINDS)
"""Series that belong to none of a source's destinations and groups."""


def _topic_families(
    topics: Sequence[LogTopic], counters: CounterTable, view: View, now: float
) -> list[Family]:
    labels = (
        list(chain.from_iterable(topic.labels for topic in topics))
        if view.per_partition
        else [topic.label for topic in topics]
    )

    def column(name: str, values: Callable[[LogTopic], Sequence[Value]]) -> Family:
        return family(name, labels, flat(_fresh(t, values(t), view, now) for t in topics))

    return [
        column("mq_log_start_offset", lambda topic: topic.start),
        column("mq_log_end_offset", lambda topic: topic.end),
        family(
            "mq_last_stable_offset",
            list(chain.from_iterable(topic.labels for topic in topics)),
            flat(_open_transactions(topic, view, now) for topic in topics),
        )
        if view.per_partition
        else column("mq_last_stable_offset", _stable_where_below),
        column(
            "mq_produced_messages_total",
            lambda topic: [counters.values[slot] for slot in topic.slots()],
        ),
        column(
            "mq_produced_messages_per_second",
            lambda topic: [counters.rates[slot] for slot in topic.slots()],
        ),
    ]


def _open_transactions(topic: LogTopic, view: View, now: float) -> Sequence[Value]:
    return [
        stable if stable is not None and end is not None and stable < end else None
        for stable, end in zip(_fresh(topic, topic.stable, view, now), topic.end, strict=True)
    ]


def _stable_where_below(topic: LogTopic) -> Sequence[Value]:
    """The last stable offsets of all partitions, if one of them is below its end."""
    pairs = list(zip(topic.stable, topic.end, strict=True))
    if any(s is not None and e is not None and s < e for s, e in pairs):
        return topic.stable
    return [None] * len(pairs)


# Groups


def _group_families(groups: Sequence[Group]) -> list[Family]:
    stated = [group for group in groups if group.state is not None]
    return [
        family("mq_group_members", [g.label for g in groups], [g.members for g in groups]),
        Family(
            "mq_group_state",
            list(chain.from_iterable(group.state_labels for group in stated)),
            [int(group.state == name) for group in stated for name in GROUP_STATES],
        ),
        Family(
            "mq_group_rebalances_total", [g.label for g in stated], [g.rebalances for g in stated]
        ),
    ]


def _not_shown_family(state: LogState) -> Family:
    """Every kind is there from the first answer on, so that an alert sees a change from 0."""
    return Family(
        "mq_groups_not_shown",
        [state.labeler({"kind": kind}) for kind in HIDDEN_KINDS],
        [state.groups_not_shown.get(kind, 0) for kind in HIDDEN_KINDS],
    )


# Subscriptions

_Scalar = tuple[str, Callable[[LogSubscription], Value]]

_SCALARS: tuple[_Scalar, ...] = (
    ("mq_lag_upper_bound", lambda sub: 1 if sub.upper_bound else None),
    ("mq_past_end_messages", lambda sub: sub.incidents.past_end.messages or None),
    (
        "mq_subscription_produced_messages_total",
        lambda sub: sub.produced.values[sub.produced_slot],
    ),
    ("mq_consumed_messages_total", lambda sub: sub.consumed.values[sub.consumed_slot]),
    ("mq_consumers", lambda sub: sub.consumers),
    ("mq_messages_lost_total", lambda sub: sub.incidents.lost),
    ("mq_offset_rewinds_total", lambda sub: sub.incidents.rewinds),
    ("mq_commit_interval_seconds", lambda sub: round(sub.gaps.longest, 3)),
)
_OF_THE_WHOLE: tuple[_Scalar, ...] = (
    (
        "mq_subscription_produced_messages_per_second",
        lambda sub: sub.produced.rates[sub.produced_slot],
    ),
    ("mq_consumed_messages_per_second", lambda sub: sub.consumed.rates[sub.consumed_slot]),
    ("mq_retention_margin_messages", lambda sub: sub.margin),
)
"""Absent while a partition cannot be read: the number depends on it."""
_UNREAD = ("mq_unreadable_partitions", "mq_uncommitted_partitions", "mq_uncommitted_messages")
_SCALAR_COUNT = len(_SCALARS) + len(_OF_THE_WHOLE) + len(_UNREAD)


TIME_SERIES = 3
"""Series of a subscription's own, at most, that `time_families` adds to the ages and the histogram."""


def _at_most(sub: LogSubscription, view: View) -> int:
    """Return how many series the subscription can have."""
    positions = len(sub.positions.partitions) if view.per_partition else 1
    own = _SCALAR_COUNT + len(ANOMALIES) + TIME_SERIES + JUDGEMENT_SERIES
    return 3 * positions + own + _histogram(sub)


def _histogram(sub: LogSubscription) -> int:
    return 0 if sub.latency is None else len(sub.latency.labels)


def _size(sub: LogSubscription, view: View, now: float) -> int:
    """Return how many series the subscription has."""
    scalars = count_series(_scalar_families([sub], view, now))
    positions = 0
    for values in (sub.positions.lag, sub.positions.committed):
        found = _positions(sub, values, view, now)
        positions += sum(value is not None for value in found)
    ages = len(sub.positions.partitions) if view.per_partition else 1
    own = len(ANOMALIES) + TIME_SERIES + (JUDGEMENT_SERIES if sub.judge.labels else 0)
    return positions + scalars + own + ages + _histogram(sub)


def _scalar_families(subs: Sequence[LogSubscription], view: View, now: float) -> list[Family]:
    labels = [sub.label for sub in subs]
    unreadable = [sub.unreadable(view.hold, now) or None for sub in subs]
    uncommitted = [sub.uncommitted(view.hold, now) for sub in subs]
    partitions = [None if found is None else found.partitions for found in uncommitted]
    messages = [None if found is None else found.messages for found in uncommitted]
    unread: tuple[list[Value], ...] = ([*unreadable], [*partitions], [*messages])
    return [
        *(family(name, labels, values) for name, values in zip(_UNREAD, unread, strict=True)),
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


def _subscription_families(subs: Sequence[LogSubscription], view: View, now: float) -> list[Family]:
    labels = [sub.label for sub in subs]
    families = _scalar_families(subs, view, now)
    families.append(
        Family(
            "mq_position_anomalies_total",
            list(chain.from_iterable(sub.anomaly_labels for sub in subs)),
            flat((sub.incidents.past_end.count, sub.incidents.deleted_topic) for sub in subs),
        )
    )
    places = (
        list(chain.from_iterable(sub.positions.labels for sub in subs))
        if view.per_partition
        else labels
    )
    lags = flat(_positions(sub, sub.positions.lag, view, now) for sub in subs)
    committed = flat(_positions(sub, sub.positions.committed, view, now) for sub in subs)
    return [
        family("mq_lag_messages", places, lags),
        family("mq_committed_offset", places, committed),
        *families,
        *judgement_families(subs),
    ]


def _positions(
    sub: LogSubscription, values: Sequence[int | None], view: View, now: float
) -> Sequence[Value]:
    """Return a value a partition, or their sum where partitions are not wanted."""
    known = sub.positions.visible(values, view.hold, now)
    return known if view.per_partition else [whole_sum(known)]
