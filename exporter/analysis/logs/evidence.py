"""What is known of each subscription of a source whose destinations are logs, for its judge."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.analysis.logs.group import REBALANCING, Group
from exporter.analysis.logs.state import LogState
from exporter.analysis.logs.subscription import LogSubscription
from exporter.judgement.evidence import Evidence, PartitionBacklog
from exporter.judgement.judge import MEMORY
from exporter.judgement.recent_events import SLICES

WITHHELD = 0.5
"""Share of a backlog that must be withheld by open transactions for these to be its cause."""


def log_evidence(
    state: LogState, now: float, clock: float, hold: float
) -> Iterator[tuple[LogSubscription, Evidence]]:
    """Return what is known of each subscription that was read at `now`; `clock` is in Unix time."""
    span = MEMORY * state.rate_window
    for group in state.groups.values():
        group.judged(now)
        group.recent.observe(now, group.rebalances, span)
    for sub in state.subscriptions.values():
        if sub.read_at == now:
            yield sub, _sight(sub, state.groups.get(sub.group), span, hold, now, clock)


def _sight(
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
        commit_interval=sub.gaps.longest,
        stop=sub.gaps.stop,
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
        read_by_nobody=group is not None and _reads_elsewhere(sub, group),
        members=None if group is None else group.members,
        rebalancing=group is not None and group.state in REBALANCING,
        rebalancing_since=None if group is None else group.rebalancing_since,
        rejoining=None if group is None else group.rejoining,
        rebalances=0 if group is None else group.recent.count,
        rebalanced_for=span,
        rebalance_times=_restless(group, span, now),
        size=sub.topic.size.mean,
        partitions=lambda: [
            PartitionBacklog(f"partition {partition}", lag or 0, now - moved_at)
            for partition, lag, moved_at in zip(
                positions.partitions, positions.lag, positions.moved_at, strict=True
            )
        ],
        max_consumers=None if group is not None and group.shared else sub.topic.partitions,
        withheld=lambda: _withheld(sub),
    )


def _reads_elsewhere(sub: LogSubscription, group: Group) -> bool:
    """Whether the group's members are known to read, and none of them here."""
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
    """In how many parts of the time the group rebalanced, if it did so a moment ago."""
    if group is None or group.recent.last is None or now - group.recent.last > 4 * span / SLICES:
        return 0
    return group.recent.times


def _withheld(sub: LogSubscription) -> tuple[str, int] | None:
    """Where the position stands at a last stable offset below the end, if that is most of the backlog."""
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
