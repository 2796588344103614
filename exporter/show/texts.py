"""Formats the numbers of a subscription's row as texts for the page.

A query of the JSON gets them with `text=true`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exporter.show.wording import advice, age, duration, lag, losing, names, rate, whole, why
from exporter.systems import SYSTEMS

Row = dict[str, Any]
Format = Callable[[float], str]

FORMATS: Mapping[str, Format] = {
    "lag_messages": whole,
    "lag_seconds": duration,
    "produced_messages_per_second": rate,
    "consumed_messages_per_second": rate,
    "lag_seconds_uncertainty": duration,
    "commit_interval_seconds": duration,
    "time_to_drain_seconds": duration,
    "time_to_loss_seconds": duration,
    "consumers": whole,
    "uncommitted_messages": whole,
    "past_end_messages": whole,
    "unreadable_partitions": whole,
    "lost_messages": whole,
    "redelivered_messages": whole,
    "deferred_messages": whole,
    "committed_offset": whole,
    "start_offset": whole,
    "end_offset": whole,
    "unmoved_seconds": duration,
    "unacknowledged_messages": whole,
    "values_age_seconds": duration,
}
"""Key of a row, partition, threshold or history to its format."""
STATUS_MEANINGS: Mapping[str, str] = {
    "stopped": "messages wait, no consumer is connected, and nothing is processed",
    "stalled": "messages wait, consumers are connected or expected, and nothing is processed",
    "retry_loop": "the same messages fail again and again",
    "past_end": "the committed offset is past the log end; new messages will be skipped",
    "lagging": "the lag or the age is above its threshold",
    "rewound": "the committed offset moved back; messages are processed twice",
    "falling_behind": "the lag grows; no threshold is passed yet",
    "unknown": "too little history, or a part cannot be read",
    "stale": "the source cannot be read; the last values are shown",
    "abandoned": "the group is alive but no longer reads this topic; no action is needed",
    "dormant": "no consumers and no movement since it was first seen; no action is needed",
    "uncommitted": "the group reads but does not commit, so its lag is not known; not a fault",
    "ok": "below its thresholds, and moving",
}
"""One line for each status, the worst first. `stale` replaces the status of unreadable sources."""
BOUNDED: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("lag_messages", lag),
    ("lag_seconds", age),
)
"""Numbers that may be bounds, which their texts mark."""


def add_texts(row: Row, now: float) -> None:
    """Add texts to a row and to its partitions; `now` is the current Unix time.

    They have the keys of the numbers. Unknown numbers have no text.
    """
    text: dict[str, Any] = _texts(row)
    for key, bounded in BOUNDED:
        if row[key] is not None or row[f"{key}_at_least"] is not None:
            text[key] = bounded(row)
    text["destination"] = names(row)[1]
    if row["status_since"] is not None:
        text["status_since"] = duration(max(now - row["status_since"], 0.0))
    text["why"] = why(row)
    if losing(row):
        text["loss"] = losing(row)
    if advice(row):
        text["scaling"] = f"{advice(row)} consumers"
    text["thresholds"] = _texts(row["thresholds"])
    if "history" in row:
        text["history"] = _history(row["history"])
    if "partitions" in row:
        parts = [each for each in row["partitions"] if each["partition"] is not None]
        text["partitions"] = f"{whole(len(parts))} {part_name(row, len(parts))}"
        for part in parts:
            part["text"] = _texts(part)
            if row["status"] == "dormant" and "unmoved_seconds" in part["text"]:
                part["text"]["unmoved_seconds"] = "≥" + part["text"]["unmoved_seconds"]
    row["text"] = text


def add_points(row: Row) -> None:
    """Add the texts of each point of the history, in the order of the points."""
    history = row["history"]
    row["text"]["points"] = {
        key: [None if value is None else FORMATS[key](value) for value in values]
        for key, values in history.items()
        if isinstance(values, list)
    }


def part_name(row: Row, count: int = 1) -> str:
    """Return the system's word for `count` partitions of a destination."""
    words = SYSTEMS[row["system"]].words
    return words.part if count == 1 else words.parts or f"{words.part}s"


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: form(value) for key, form in FORMATS.items() if (value := values.get(key)) is not None
    }


def _history(history: Mapping[str, Any]) -> dict[str, str]:
    """Return the time span of the history, and the largest number of each column."""
    columns = {key: values for key, values in history.items() if isinstance(values, list)}
    points = max(map(len, columns.values()), default=0)
    most = {key: FORMATS[key](_largest(values)) for key, values in columns.items()}
    return {"span": duration(points * history["step_seconds"]), **most}


def _largest(values: Iterable[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)
