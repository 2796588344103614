"""The facts about each subscription of a log source that its judge uses."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.analysis.logs.group import REBALANCING, Group
from exporter.analysis.logs.state import LogState
from exporter.analysis.logs.subscription import LogSubscription
from exporter.judgement.evidence import Evidence, PartitionBacklog
from exporter.judgement.judge import MEMORY
from exporter.judgement.recent_events import SLICES

WITHHELD = 0.5
"""Open transactions are a cause if they hold back more than this fraction of the backlog."""


def log_evidence(
    state: LogState, now: float, clock: float, hold: float
) -> Iterator[tuple[LogSubscription, Evidence]]:
    """Return the facts about each subscription read at `now`; `clock` is that Unix time.

    Subscriptions on which nothing happens are left out, except every `REST_SECONDS`.
    """
    span = MEMORY * state.rate_window
    for group in state.groups.values():
        group.judged(now)
        group.recent.observe(now, group.rebalances, span)
    for sub in state.subscriptions.values():
        if sub.read_at != now:
            continue
        known = state.groups.get(sub.group)
        told_at = now if known is None else known.told_at
        can_rest = sub.stayed_at == now and sub.topic.whole and sub.scaled is None
        if can_rest and sub.judge.rests(now, told_at):
            sub.judge.rest(now, clock, state.rate_window)
        else:
            yield sub, _evidence(sub, known, span, hold, now, clock)


def _evidence(
    sub: LogSubscription, group: Group | None, span: float, hold: float, now: float, clock: float
) -> Evidence:
    positions = sub.positions
    unreadable = sub.unreadable(hold, now)
    whole = not unreadable
    uncommitted = sub.uncommitted(hold, now)
    unassigned = uncommitted.unassigned if uncommitted is not None else ()
    return Evidence(
        at=now,
        clock=clock,
        lag=sub.total_lag() if whole and sub.has_position else None,
        age=sub.ages.largest() if whole else None,
        commit_interval=sub.commit_gaps.longest,
        stop=sub.commit_gaps.stop,
        consumed=sub.consumed.values[sub.consumed_slot],
        produced=sub.produced.values[sub.produced_slot],
        redelivered=0,
        rewinds=sub.incidents.rewinds,
        consumed_rate=sub.consumed.rates[sub.consumed_slot] if whole else None,
        produced_rate=sub.produced.rates[sub.produced_slot] if whole else None,
        consumers=sub.consumers,
        unreadable=unreadable,
        uncommitted=None if uncommitted is None else uncommitted.messages,
        unassigned=0 if uncommitted is None else uncommitted.unassigned_messages,
        unassigned_to=[str(partition) for partition in unassigned],
        has_position=sub.has_position,
        had_position=sub.had_position,
        past_end=sub.incidents.past_end.messages,
        is_rewound=sub.incidents.is_rewound,
        usual_gap=sub.commit_gaps.usual,
        repeated_for=None if sub.repeats is None else sub.repeats.seconds(now),
        reads_elsewhere=group is not None and _reads_elsewhere(sub, group),
        members=None if group is None else group.members,
        rebalancing=group is not None and group.state in REBALANCING,
        rebalancing_since=None if group is None else group.rebalancing_since,
        rejoining=None if group is None else group.rejoining,
        rebalances=0 if group is None else group.recent.count,
        rebalanced_for=span,
        rebalance_times=_restless(group, span, now),
        all_rebalances=0 if group is None else group.rebalances,
        rebalance_pauses=group is not None and group.pauses,
        size=sub.topic.size.mean,
        partitions=lambda: [
            PartitionBacklog(
                f"partition {partition}",
                lag or 0,
                now - moved_at,
                sub.topic.produced_rate(partition),
            )
            for partition, lag, moved_at in zip(
                positions.partitions, positions.lag, positions.moved_at, strict=True
            )
        ],
        max_consumers=None if group is not None and group.shared else sub.topic.partitions,
        withheld=lambda: _withheld(sub),
    )


def _reads_elsewhere(sub: LogSubscription, group: Group) -> bool:
    """Return whether the group's members read other destinations, but not this one."""
    readers = group.readers
    return (
        bool(group.members)
        and sub.has_position
        and group.state not in REBALANCING
        and readers is not None
        and not readers.get(sub.topic.name)
        and any(readers.values())
    )


def _restless(group: Group | None, span: float, now: float) -> int:
    """Return in how many slices of the span the group rebalanced; 0 if not in a recent one."""
    if group is None or group.recent.last is None or now - group.recent.last > 4 * span / SLICES:
        return 0
    return group.recent.times


def _withheld(sub: LogSubscription) -> tuple[str, int] | None:
    """Return where offsets are at a last stable offset below the end, and the messages held back.

    None if these messages are not most of the backlog.
    """
    topic, positions = sub.topic, sub.positions
    messages, where = 0, []
    for partition, position in zip(positions.partitions, positions.committed, strict=True):
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
