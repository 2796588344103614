"""Sorts subscriptions by a column: for `top`, and for the parameter `sort` of the JSON API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exporter.show.wording import plain

Row = dict[str, Any]
Value = Callable[[Row], Any]


def sorted_by(rows: Iterable[Row], sort: str) -> list[Row]:
    """Return the rows sorted by a column of `SORTS`; with a leading minus, the largest first."""
    return by_value(rows, SORTS[sort.removeprefix("-")], reverse=sort.startswith("-"))


def by_value(rows: Iterable[Row], value: Value, *, reverse: bool) -> list[Row]:
    """Return the rows sorted by a value. The sort is stable.

    Rows without a value (None) come last in both directions.
    """
    known: list[Row] = []
    unknown: list[Row] = []
    for row in rows:
        (unknown if value(row) is None else known).append(row)
    return sorted(known, key=value, reverse=reverse) + unknown


def is_sort(sort: str) -> bool:
    """Return whether this is a column of `SORTS`, with or without a leading minus."""
    return sort.removeprefix("-") in SORTS


def _name(row: Row) -> tuple[str, str, str]:
    place = row["destination"].casefold()
    return (row["group"] or place).casefold(), place, row["source"]


def _growth(row: Row) -> float | None:
    produced = row["produced_messages_per_second"]
    consumed = row["consumed_messages_per_second"]
    return None if produced is None or consumed is None else produced - consumed


SORTS: Mapping[str, Value] = {
    "name": _name,
    "status": lambda row: plain(row["status"]),
    "lag_messages": lambda row: row["lag_messages_at_least"],
    "growth": _growth,
    "lag_seconds": lambda row: row["lag_seconds_at_least"],
    "produced_messages_per_second": lambda row: row["produced_messages_per_second"],
    "consumed_messages_per_second": lambda row: row["consumed_messages_per_second"],
    "consumers": lambda row: row["consumers"],
    "cause": lambda row: plain(row["cause"]) or None,
}
