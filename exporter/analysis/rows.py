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
        "commit_interval_seconds": round(sub.gaps.longest, 3),
        "time_to_loss_seconds": _finite(sub.time_to_loss),
        "consumers": sub.consumers,
        "group_state": group.state if group is not None else None,
        "uncommitted_messages": None if uncommitted is None else uncommitted.messages,
        "past_end_messages": sub.past_end.messages,
        "lost_messages": sub.lost,
        "retention_margin_messages": None if unreadable else sub.margin,
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


def lag_of(known: Sequence[int], unreadable: int) -> dict[str, int | None]:
    """Return a subscription's lag: null, with a lower bound beside it, while a part of it cannot be read."""
    at_least = sum(known) if known else None
    return {
        "lag_messages": None if unreadable else at_least,
        "lag_messages_at_least": at_least,
        "unreadable_partitions": unreadable,
    }


def age_of(ages: Sequence[float | None]) -> dict[str, float | None]:
    """Return the age of the oldest unread message: null, with a lower bound beside it, while one age is unknown."""
    known = [age for age in ages if age is not None]
    at_least = max(known, default=None)
    return {
        "lag_seconds": at_least if len(known) == len(ages) else None,
        "lag_seconds_at_least": at_least,
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: what never comes is null, as is what is not known."""
    return None if value is None or math.isinf(value) else value
