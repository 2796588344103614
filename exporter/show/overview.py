"""The list of subscriptions for page, terminal and JSON: filtered, and the worst first."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.analysis.history import Point
from exporter.analysis.rows import Key
from exporter.model import STATUSES
from exporter.show.links import links
from exporter.show.sorting import SORTS, is_sort, sorted_by
from exporter.show.texts import add_points, add_texts, part_name
from exporter.show.wording import QUIET, plain, standing, standings
from exporter.systems import SYSTEMS

Row = dict[str, Any]
EXACT = ("system", "source", "vhost", "destination", "group", "status")
STANDINGS = ("bad", "unsure", "good")
STALE = "stale"
"""Stands for the status of a subscription whose source cannot be read."""
TRUE, FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
LONGEST_VALUE = 100
"""Longest value in characters that is compared with the valid ones."""
_LIMIT = re.compile("[0-9]{1,9}")


class BadQueryError(ValueError):
    """An invalid query. The message says what is expected."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which subscriptions are wanted, and with which details."""

    words: Sequence[str] = ()
    """Words that must all be in a subscription's names, status or cause (case-insensitive)."""
    exact: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    partitions: bool = False
    history: Sequence[str] = ()
    text: bool = False
    """Whether numbers are also returned as texts."""
    sort: str = ""
    """A column of `sorting.SORTS`; empty is the worst first."""
    stale: bool = False
    """Whether to return the last values of unreadable sources; their status is then `stale`."""
    detail: bool = False
    """Whether links are returned, and the history's points as texts."""
    health: bool = False
    """Whether nodes, probes and tasks of the sources are returned."""
    legend: bool = False
    """Whether the meanings of the statuses are returned."""

    def status_of(self, row: Row) -> str:
        """Return the status by which a subscription is counted and found."""
        return STALE if self.stale and row.get("stale") else str(row["status"])

    def wants(self, row: Row) -> bool:
        """Return whether the query selects a subscription."""
        status = self.status_of(row)
        return self.matches(row) and self.exact.get("status", status) == status

    def matches(self, row: Row) -> bool:
        """Return whether the query selects a subscription, whatever its status."""
        if any(
            (row[name] or "") != value for name, value in self.exact.items() if name != "status"
        ):
            return False
        if not self.words:
            return True
        names = (row["system"], row["source"], row["vhost"], row["destination"], row["group"])
        text = "\n".join(name for name in names if name)
        text += f"\n{plain(self.status_of(row))}\n{plain(row['cause'])}"
        text = text.casefold()
        return all(word in text for word in self.words)


def query_of(given: Mapping[str, str]) -> Query:
    """Parse the query of a URL; unknown parameters are ignored. Raises `BadQueryError`."""
    limit = given.get("limit")
    if limit is not None and not _LIMIT.fullmatch(limit):
        raise BadQueryError("limit: expected a number of subscriptions, such as limit=100")
    sort = given.get("sort", "")
    if sort and not is_sort(sort):
        raise _wrong("sort", sort, [*SORTS, *(f"-{name}" for name in SORTS)])
    for name, known in (("system", list(SYSTEMS)), ("status", [*STATUSES, STALE])):
        value = given.get(name, "")
        if value and value not in known:
            raise _wrong(name, value, known)
    return Query(
        words=given.get("filter", "").casefold().split(),
        exact={name: given[name] for name in EXACT if name in given},
        limit=None if limit is None else int(limit),
        partitions=_switch("partitions", given),
        history=_columns(given.get("history", "")),
        text=_switch("text", given),
        sort=sort,
        stale=_switch("stale", given),
        detail=_switch("detail", given),
        health=_switch("health", given),
        legend=_switch("legend", given),
    )


def _wrong(name: str, value: str, known: Sequence[str]) -> BadQueryError:
    """Return the error of a value that is not one of `known`, with the most similar one."""
    near = _nearest(value.lower(), known)
    hint = f"did you mean {near}? " if near else ""
    return BadQueryError(f"{name}: unknown value; {hint}Expected one of: {', '.join(known)}")


def _nearest(value: str, known: Sequence[str]) -> str | None:
    """Return the most similar of the valid values; None if none is similar."""
    return next(iter(difflib.get_close_matches(value[:LONGEST_VALUE], known, 1, 0.6)), None)


def _switch(name: str, given: Mapping[str, str]) -> bool:
    value = given.get(name, "").lower()
    if value not in TRUE | FALSE:
        raise BadQueryError(f"{name}: expected true or false")
    return value in TRUE


def _columns(given: str) -> Sequence[str]:
    if given.lower() in FALSE:
        return ()
    if given.lower() in TRUE:
        return Point._fields
    columns = given.split(",")
    for column in columns:
        if column not in Point._fields:
            near = _nearest(column, Point._fields)
            hint = f"; did you mean {near}?" if near else ""
            expected = f"expected true, or some of {', '.join(Point._fields)}"
            raise BadQueryError(f"history: {expected}{hint}")
    return columns


def worst_first(row: Row) -> tuple[int, bool, float, int]:
    """Return the sort key of a subscription.

    It consists of the standing; whether nobody is expected to read, because old groups would hide
    the live ones; the lag or age as a multiple of its threshold, whichever is larger; and the lag.
    """
    thresholds = row["thresholds"]
    lag, age = row["lag_messages_at_least"] or 0, row["lag_seconds_at_least"] or 0.0
    most, oldest = thresholds["lag_messages"], thresholds["lag_seconds"]
    past = max(
        lag / most if most else 0.0,
        age / (oldest + row["commit_interval_seconds"]) if oldest else 0.0,
    )
    return STANDINGS.index(row["standing"]), row["status"] in QUIET, -past, -lag


def select(rows: Iterable[Row], query: Query) -> dict[str, Any]:
    """Return the selected subscriptions in their order, with counts. Adds `standing` to all rows.

    `matching` is the number of selected subscriptions, `statuses` the number of all by status,
    `standings` the worst standing of each status, `by_standing` the number of all that are not
    stale, `matching_by_status` the number by status and standing, whatever status the query has.
    """
    everything = list(rows)
    for row in everything:
        row["standing"] = standing(row)
    matching = [row for row in everything if query.matches(row)]
    found = [row for row in matching if query.wants(row)]
    found.sort(key=worst_first)
    if query.sort:
        found = sorted_by(found, query.sort)
    by_status: dict[str, Counter[str]] = {}
    for row in matching:
        by_status.setdefault(query.status_of(row), Counter())[row["standing"]] += 1
    fresh = (row for row in everything if not row.get("stale"))
    return {
        "total": len(everything),
        "matching": len(found),
        "statuses": dict(Counter(row["status"] for row in everything)),
        "standings": standings(),
        "by_standing": dict(Counter(row["standing"] for row in fresh)),
        "matching_by_status": {status: dict(counts) for status, counts in by_status.items()},
        "subscriptions": found if query.limit is None else found[: query.limit],
    }


def finish(rows: Iterable[Row], query: Query, now: float) -> None:
    """Add the standing, the word for partitions and, if wanted, the texts to each row.

    `now` is the current Unix time.
    """
    for row in rows:
        row["standing"] = standing(row)
        row["part"] = part_name(row)
        if query.text:
            add_texts(row, now)
        if query.detail:
            row["links"] = links(row)
            if query.text and "history" in row:
                add_points(row)


def key_of(row: Row) -> Key:
    """Return the key of a subscription in its source."""
    return row["vhost"], row["destination"], row["group"]
