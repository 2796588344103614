"""The subscriptions of a source as rows, for the JSON, the page and the terminal."""

from __future__ import annotations

from typing import Any, Protocol

from exporter.analysis.families import View, visible
from exporter.analysis.log_state import LogState
from exporter.analysis.subscription import LogSubscription


class Named(Protocol):
    """What is taken from a source's config."""

    @property
    def system(self) -> str: ...
    @property
    def name(self) -> str: ...


def rows(
    state: LogState, source: Named, view: View, now: float, *, partitions: bool = False
) -> list[dict[str, Any]]:
    """Return a row for each subscription that is shown; what is unknown is null."""
    return [
        _row(state, source, subscription, view, now, partitions=partitions)
        for subscription in state.subscriptions.values()
        if subscription.shown
    ]


def _row(
    state: LogState,
    source: Named,
    sub: LogSubscription,
    view: View,
    now: float,
    *,
    partitions: bool,
) -> dict[str, Any]:
    lags = visible(sub, sub.lag, view.hold, now)
    known = [lag for lag in lags if lag is not None]
    group = state.groups.get(sub.group)
    row: dict[str, Any] = {
        "system": source.system,
        "source": source.name,
        "destination": sub.topic.name,
        "group": sub.group,
        "lag_messages": sum(known) if known else None,
        "lag_upper_bound": sub.upper_bound,
        "produced_messages_per_second": sub.produced.rates[sub.produced_slot],
        "consumed_messages_per_second": sub.consumed.rates[sub.consumed_slot],
        "consumers": sub.consumers,
        "group_state": group.state if group is not None else None,
        "uncommitted_messages": sub.uncommitted_messages,
        "lost_messages": sub.lost,
        "retention_margin_messages": sub.margin,
    }
    if partitions:
        row["partitions"] = [
            {"partition": str(partition), "lag_messages": lag, "committed_offset": position}
            for partition, lag, position in zip(
                sub.partitions, lags, visible(sub, sub.committed, view.hold, now), strict=True
            )
        ]
    return row
