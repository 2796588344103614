"""The orders in which subscriptions can be shown besides the worst first: `sort` of a query of the JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exporter.show.wording import plain

Row = dict[str, Any]
Value = Callable[[Row], Any]


def sorted_by(rows: Iterable[Row], sort: str) -> list[Row]:
    """Return the rows by a column of `SORTS`; with a minus before its name, the largest first.

    Rows without a value come last either way. Rows with the same value stay in their order.
    """
    value = SORTS[sort.removeprefix("-")]
    known: list[Row] = []
    unknown: list[Row] = []
    for row in rows:
        (unknown if value(row) is None else known).append(row)
    return sorted(known, key=value, reverse=sort.startswith("-")) + unknown


def is_sort(sort: str) -> bool:
    """Tell whether this is a column, with or without a minus."""
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
