"""The series of a log source: for each metric, a list of label texts and a list of values."""

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
from exporter.analysis.logs.time_series import (
    AGES_OF_A_POSITION,
    time_series_of_a_subscription,
    time_series_of_a_topic,
)
from exporter.analysis.logs.topic import LogTopic
from exporter.analysis.series_budget import Budget, Companions, most_lagging_first
from exporter.analysis.shared_series import judgement_families, judgement_series, losses_family
from exporter.catalogue import ANOMALIES, LOSSES
from exporter.model import GROUP_STATES, HIDDEN_KINDS, TIMESTAMP_ANOMALIES


@dataclass(frozen=True, slots=True)
class _Chosen:
    topics: Sequence[LogTopic]
    groups: Sequence[Group]
    subscriptions: Sequence[LogSubscription]
    dropped: int = 0


def show(state: LogState, view: View, now: float) -> Shown:
    """Return the series at `now`: no value older than `hold`, at most `max_series` series."""
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
        *_topic_families(chosen.topics, view, now),
        *_group_families(chosen.groups),
        losses_family(state.labeler, state.losses),
        _not_shown_family(state),
        *_stream_families(state),
        *_subscription_families(chosen.subscriptions, view, now),
    ]
    return Shown(families, sum(len(family.labels) for family in families), chosen.dropped)


def _fits(every: _Chosen, view: View) -> bool:
    """Return whether all of it fits, by an upper bound."""
    most = len(_TOPIC_COLUMNS) * sum(topic.partitions for topic in every.topics)
    most += time_series_of_a_topic() * len(every.topics)
    of_a_group = len(_GROUP_SCALARS) + len(_STATED_GROUP_SCALARS) + len(GROUP_STATES)
    most += of_a_group * len(every.groups) + _OF_THE_SOURCE
    return most + _at_most(every.subscriptions, view) <= view.max_series


def _choose(state: LogState, every: _Chosen, view: View, now: float) -> _Chosen:
    """Leave out whole subscriptions, the least lagging first.

    A subscription includes the series of its topic and its group. The remaining room goes to
    other topics, then to other groups.
    """
    budget = Budget(view.max_series - _OF_THE_SOURCE)
    topics: Companions[LogTopic] = Companions(
        lambda topic: count_series(_topic_families([topic], view, now)) + time_series_of_a_topic(),
        budget,
        {},
    )
    groups: Companions[Group] = Companions(
        lambda group: count_series(_group_families([group])), budget, {}
    )
    shown: list[LogSubscription] = []
    for sub in most_lagging_first(
        every.subscriptions, lag=LogSubscription.total_lag, shown=lambda sub: sub.shown
    ):
        group = state.groups.get(sub.group)
        own = _size(sub, view, now)
        if budget.reserve(own + topics.need(sub.topic) + groups.need(group)):
            topics.add(sub.topic)
            groups.add(group)
            shown.append(sub)
        else:
            budget.dropped += own
    return _Chosen(topics.fill(every.topics), groups.fill(every.groups), shown, budget.dropped)


# Destinations


def _fresh(topic: LogTopic, values: Sequence[Value], view: View, now: float) -> Sequence[Value]:
    """Hide values older than `hold`; sum them up unless partitions are exposed."""
    if not topic.whole:
        values = [
            value if now - read_at <= view.hold else None
            for value, read_at in zip(values, topic.read_at, strict=True)
        ]
    return values if view.per_partition else [whole_sum(values)]


_OF_THE_SOURCE = len(LOSSES) + len(TIMESTAMP_ANOMALIES) + len(HIDDEN_KINDS)
"""Series that belong to no destination and no group."""


def _stable(topic: LogTopic, view: View) -> Sequence[Value]:
    """Return the last stable offsets below the log end; for a sum, all of them if one is below."""
    below = [
        stable if stable is not None and end is not None and stable < end else None
        for stable, end in zip(topic.stable, topic.end, strict=True)
    ]
    some = any(offset is not None for offset in below)
    return topic.stable if some and not view.per_partition else below


_TOPIC_COLUMNS: tuple[tuple[str, Callable[[LogTopic, View], Sequence[Value]]], ...] = (
    ("mq_log_start_offset", lambda topic, _: topic.start),
    ("mq_log_end_offset", lambda topic, _: topic.end),
    ("mq_last_stable_offset", _stable),
    (
        "mq_produced_messages_total",
        lambda topic, _: [topic.produced.values[slot] for slot in topic.slots()],
    ),
    (
        "mq_produced_messages_per_second",
        lambda topic, _: [topic.produced.rates[slot] for slot in topic.slots()],
    ),
)
"""One value for each partition."""


def _topic_families(topics: Sequence[LogTopic], view: View, now: float) -> list[Family]:
    labels = (
        list(chain.from_iterable(topic.labels for topic in topics))
        if view.per_partition
        else [topic.label for topic in topics]
    )
    return [
        family(
            name, labels, flat(_fresh(topic, values(topic, view), view, now) for topic in topics)
        )
        for name, values in _TOPIC_COLUMNS
    ]


# Groups

_GROUP_SCALARS: tuple[tuple[str, Callable[[Group], Value]], ...] = (
    ("mq_group_members", lambda group: group.members),
)
_STATED_GROUP_SCALARS: tuple[tuple[str, Callable[[Group], Value]], ...] = (
    ("mq_group_rebalances_total", lambda group: group.rebalances),
)
"""Only of groups whose state is known."""


def _group_families(groups: Sequence[Group]) -> list[Family]:
    stated = [group for group in groups if group.state is not None]
    return [
        *(
            family(name, [group.label for group in groups], [value(group) for group in groups])
            for name, value in _GROUP_SCALARS
        ),
        Family(
            "mq_group_state",
            list(chain.from_iterable(group.state_labels for group in stated)),
            [int(group.state == name) for group in stated for name in GROUP_STATES],
        ),
        *(
            family(name, [group.label for group in stated], [value(group) for group in stated])
            for name, value in _STATED_GROUP_SCALARS
        ),
    ]


def _not_shown_family(state: LogState) -> Family:
    """Return the series of all kinds, from the first poll on, so that alerts see a rise from 0."""
    return Family(
        "mq_groups_not_shown",
        [state.labeler({"kind": kind}) for kind in HIDDEN_KINDS],
        [state.groups_not_shown.get(kind, 0) for kind in HIDDEN_KINDS],
    )


def _stream_families(state: LogState) -> list[Family]:
    """Return the series about the topic of committed offsets."""
    report = state.commit_stream
    if report is None:
        return []
    values = {
        "mq_commit_stream_groups": report.groups,
        "mq_commit_stream_disagreements_total": report.disagreements,
        "mq_commit_stream_unknown_records_total": report.unknown_records,
    }
    return [Family(name, [state.labeler({})], [value]) for name, value in values.items()]


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
    ("mq_commit_interval_seconds", lambda sub: round(sub.commit_gaps.longest, 3)),
)
_OF_THE_WHOLE: tuple[_Scalar, ...] = (
    (
        "mq_subscription_produced_messages_per_second",
        lambda sub: sub.produced.rates[sub.produced_slot],
    ),
    ("mq_consumed_messages_per_second", lambda sub: sub.consumed.rates[sub.consumed_slot]),
    ("mq_retention_margin_messages", lambda sub: sub.margin),
)
"""Absent while a partition cannot be read, because the number depends on it."""
_UNREAD = ("mq_unreadable_partitions", "mq_uncommitted_partitions", "mq_uncommitted_messages")
_POSITIONS: tuple[tuple[str, Callable[[LogSubscription], Sequence[int | None]]], ...] = (
    ("mq_lag_messages", lambda sub: sub.positions.lag),
    ("mq_committed_offset", lambda sub: sub.positions.committed),
)
"""One value for each partition."""


def _at_most(subs: Sequence[LogSubscription], view: View) -> int:
    """Return the maximum number of series of the subscriptions."""
    one = len(_SCALARS) + len(_OF_THE_WHOLE) + len(_UNREAD) + len(ANOMALIES)
    one += time_series_of_a_subscription() + judgement_series()
    positions = (
        sum(len(sub.positions.partitions) for sub in subs) if view.per_partition else len(subs)
    )
    of_positions = (len(_POSITIONS) + AGES_OF_A_POSITION) * positions
    return of_positions + one * len(subs) + sum(map(_histogram, subs))


def _histogram(sub: LogSubscription) -> int:
    return 0 if sub.latency is None else len(sub.latency.labels)


def _size(sub: LogSubscription, view: View, now: float) -> int:
    """Return the number of series of the subscription."""
    scalars = count_series(_scalar_families([sub], view, now))
    positions = 0
    for _, values in _POSITIONS:
        found = _positions(sub, values(sub), view, now)
        positions += sum(value is not None for value in found)
    ages = AGES_OF_A_POSITION * (len(sub.positions.partitions) if view.per_partition else 1)
    own = (
        len(ANOMALIES)
        + time_series_of_a_subscription()
        + (judgement_series() if sub.judge.labels else 0)
    )
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
    position_labels = (
        list(chain.from_iterable(sub.positions.labels for sub in subs))
        if view.per_partition
        else labels
    )
    return [
        *(
            family(
                name, position_labels, flat(_positions(sub, values(sub), view, now) for sub in subs)
            )
            for name, values in _POSITIONS
        ),
        *families,
        *judgement_families(subs),
    ]


def _positions(
    sub: LogSubscription, values: Sequence[int | None], view: View, now: float
) -> Sequence[Value]:
    """Return a value for each partition, or their sum unless partitions are exposed."""
    known = sub.positions.visible(values, view.hold, now)
    return known if view.per_partition else [whole_sum(known)]
