"""Rows of log subscriptions, for the JSON, the page and `top`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.analysis.families import View
from exporter.analysis.logs.state import LogState
from exporter.analysis.logs.subscription import LogSubscription
from exporter.analysis.rows import PLAIN, Named, Wanted, age_of, finite, lag_of
from exporter.analysis.scaling import Validity, scaling_row
from exporter.judgement.rows import judgement_row


def log_rows(
    state: LogState, source: Named, view: View, now: float, wanted: Wanted = PLAIN
) -> list[dict[str, Any]]:
    """Return a row for each exposed subscription that `wanted` includes. Unknown is null."""
    return [
        _row(state, source, subscription, view, now, wanted)
        for subscription in state.subscriptions.values()
        if subscription.shown and wanted.includes(None, subscription.topic.name, subscription.group)
    ]


def _row(
    state: LogState,
    source: Named,
    sub: LogSubscription,
    view: View,
    now: float,
    wanted: Wanted,
) -> dict[str, Any]:
    positions = sub.positions
    lags = positions.visible(positions.lag, view.hold, now)
    known = [lag for lag in lags if lag is not None]
    group = state.groups.get(sub.group)
    unreadable = sub.unreadable(view.hold, now)
    uncommitted = sub.uncommitted(view.hold, now)
    row: dict[str, Any] = {
        "system": source.system,
        "source": source.name,
        "vhost": None,
        "destination": sub.topic.name,
        "group": sub.group,
        **lag_of(known, unreadable),
        "lag_upper_bound": sub.upper_bound,
        "produced_messages_per_second": None
        if unreadable
        else sub.produced.rates[sub.produced_slot],
        "consumed_messages_per_second": None
        if unreadable
        else sub.consumed.rates[sub.consumed_slot],
        "consumed_messages_per_second_at_least": None,
        **age_of(sub.ages.values),
        "lag_seconds_uncertainty": sub.ages.uncertainty,
        "lag_seconds_method": sub.ages.method,
        "commit_interval_seconds": round(sub.commit_gaps.longest, 3),
        "time_to_loss_seconds": finite(sub.time_to_loss),
        "consumers": sub.consumers,
        "group_state": group.state if group is not None else None,
        "uncommitted_messages": None if uncommitted is None else uncommitted.messages,
        "past_end_messages": sub.incidents.past_end.messages,
        "lost_messages": sub.incidents.lost,
        "retention_margin_messages": None if unreadable else sub.margin,
    }
    row.update(judgement_row(sub.judge))
    if unreadable and not known:
        # Without an offset there is no judgement: the last one is about the time before.
        what = "partition" if unreadable == 1 else "partitions"
        reason = f"{unreadable} {what} cannot be read, so the lag is unknown"
        row.update(status="unknown", status_since=None, status_reason=reason, cause=None, causes=[])
    row["scaling"] = scaling_row(sub.scaled, Validity(wanted.advice_seconds), now)
    if wanted.history:
        row["history"] = sub.history.seen(wanted.history, now, wanted.clock)
    if wanted.partitions:
        ages = sub.ages.by_partition()
        row["partitions"] = [
            {
                "partition": str(partition),
                "lag_messages": lag,
                "lag_seconds": ages.get(partition),
                "committed_offset": position,
                "start_offset": _at(sub.topic.start, partition),
                "end_offset": _at(sub.topic.end, partition),
                "unmoved_seconds": round(now - moved_at, 3) if lag else None,
                "assigned": None if sub.consumers is None else partition in sub.coverage.assigned,
            }
            for partition, lag, position, moved_at in zip(
                positions.partitions,
                lags,
                positions.visible(positions.committed, view.hold, now),
                positions.moved_at,
                strict=True,
            )
        ]
        recent = [] if group is None else group.recent.moments
        row["rebalanced_at"] = [round(wanted.clock - now + at, 3) for at in recent]
    return row


def _at(values: Sequence[int | None], partition: int) -> int | None:
    """Return a partition's value; None of one that the topic no longer has."""
    return values[partition] if partition < len(values) else None
