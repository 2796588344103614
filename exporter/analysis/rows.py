"""The subscriptions of a source as rows, for the JSON, the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Any, NamedTuple, Protocol

from exporter.analysis.judgement_rows import judgement_row
from exporter.analysis.log_state import LogState
from exporter.analysis.shown import View
from exporter.analysis.subscription import LogSubscription, visible


class Named(Protocol):
    """What is taken from a source's config."""

    @property
    def system(self) -> str: ...
    @property
    def name(self) -> str: ...


Key = tuple[str | None, str, str | None]
"""What a subscription is called in its source: vhost, destination and group."""


class Wanted(NamedTuple):
    """Which subscriptions are wanted, and what besides the usual."""

    partitions: bool = False
    history: Sequence[str] = ()
    """Columns of `history.Point`."""
    clock: float = 0.0
    """The moment in Unix time, which the history goes by."""
    only: Container[Key] | None = None
    """None is all of them."""

    def takes(self, vhost: str | None, destination: str, group: str | None) -> bool:
        """Whether this subscription is wanted."""
        return self.only is None or (vhost, destination, group) in self.only


PLAIN = Wanted()


def rows(
    state: LogState, source: Named, view: View, now: float, wanted: Wanted = PLAIN
) -> list[dict[str, Any]]:
    """Return a row for each subscription that is shown and wanted; what is unknown is null."""
    return [
        _row(state, source, subscription, view, now, wanted)
        for subscription in state.subscriptions.values()
        if subscription.shown and wanted.takes(None, subscription.topic.name, subscription.group)
    ]


def _row(
    state: LogState,
    source: Named,
    sub: LogSubscription,
    view: View,
    now: float,
    wanted: Wanted,
) -> dict[str, Any]:
    lags = visible(sub, sub.lag, view.hold, now)
    known = [lag for lag in lags if lag is not None]
    group = state.groups.get(sub.group)
    row: dict[str, Any] = {
        "system": source.system,
        "source": source.name,
        "vhost": None,
        "destination": sub.topic.name,
        "group": sub.group,
        "lag_messages": sum(known) if known else None,
        "lag_upper_bound": sub.upper_bound,
        "produced_messages_per_second": sub.produced.rates[sub.produced_slot],
        "consumed_messages_per_second": sub.consumed.rates[sub.consumed_slot],
        "lag_seconds": _largest_age(sub),
        "lag_seconds_uncertainty": sub.ages.uncertainty,
        "lag_seconds_method": sub.ages.method,
        "commit_interval_seconds": round(sub.gaps.longest, 3),
        "time_to_loss_seconds": _finite(sub.time_to_loss),
        "consumers": sub.consumers,
        "group_state": group.state if group is not None else None,
        "uncommitted_messages": sub.uncommitted_messages,
        "lost_messages": sub.lost,
        "retention_margin_messages": sub.margin,
    }
    row.update(judgement_row(sub.judge))
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
            }
            for partition, lag, position in zip(
                sub.partitions, lags, visible(sub, sub.committed, view.hold, now), strict=True
            )
        ]
    return row


def _largest_age(sub: LogSubscription) -> float | None:
    """The largest age that is known: for a person, one partition that isn't should not hide the others."""
    return max((age for age in sub.ages.values if age is not None), default=None)


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: what never comes is null, as is what is not known."""
    return None if value is None or math.isinf(value) else value
