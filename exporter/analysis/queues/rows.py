"""Rows of queue subscriptions, for the JSON, the page and `top`."""

from __future__ import annotations

from typing import Any

from exporter.analysis.families import View
from exporter.analysis.queues.state import QueueState
from exporter.analysis.queues.subscription import QueueSubscription
from exporter.analysis.rows import PLAIN, Named, Wanted, age_of, lag_of
from exporter.analysis.scaling import Validity, scaling_row
from exporter.judgement.rows import judgement_row


def queue_rows(
    state: QueueState, source: Named, view: View, now: float, wanted: Wanted = PLAIN
) -> list[dict[str, Any]]:
    """Return a row for each exposed subscription that `wanted` includes.

    Values that are unknown or not applicable are null.
    """
    return [
        _row(state, source, sub, view, now, wanted)
        for sub in state.subscriptions.values()
        if sub.shown and wanted.includes(sub.queue.vhost, sub.queue.name, sub.group)
    ]


def _row(
    state: QueueState,
    source: Named,
    sub: QueueSubscription,
    view: View,
    now: float,
    wanted: Wanted,
) -> dict[str, Any]:
    lags = sub.lags(view.hold, now)
    known = [lag for lag in lags if lag is not None]
    ages, method = sub.ages(view.hold, now, state.settings.method)
    whole = len(known) == len(lags)
    row: dict[str, Any] = {
        "system": source.system,
        "source": source.name,
        "vhost": sub.queue.vhost,
        "destination": sub.queue.name,
        "group": sub.group,
        **lag_of(known, len(lags) - len(known)),
        "lag_upper_bound": sub.is_upper_bound,
        "produced_messages_per_second": sub.produced_rate if whole else None,
        "consumed_messages_per_second": sub.consumed_rate if whole else None,
        "consumed_messages_per_second_at_least": sub.least_consumed_rate if whole else None,
        **age_of(ages),
        "lag_seconds_uncertainty": None,
        "lag_seconds_method": method if any(age is not None for age in ages) else None,
        "commit_interval_seconds": round(sub.commit_gaps.longest, 3),
        "time_to_loss_seconds": None,
        "consumers": sub.consumers() if whole else None,
        "group_state": None,
        "uncommitted_messages": None,
        "past_end_messages": None,
        "lost_messages": sub.dropped(),
        "retention_margin_messages": None,
        "redelivered_messages": sub.redelivered,
        "deferred_messages": sub.deferred() if whole else None,
        "paused": sub.paused,
    }
    row.update(judgement_row(sub.judge))
    row["scaling"] = scaling_row(sub.scaled, Validity(wanted.advice_seconds), now)
    if wanted.history:
        row["history"] = sub.history.seen(wanted.history, now, wanted.clock)
    if wanted.partitions:
        row["partitions"] = [
            {
                "partition": place.partition,
                "lag_messages": lag,
                "lag_seconds": age,
                "committed_offset": place.committed,
                "unacknowledged_messages": place.unacknowledged,
                "consumers": place.consumers,
            }
            for place, lag, age in zip(sub.places.values(), lags, ages, strict=True)
        ]
    return row
