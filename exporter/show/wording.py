"""Formats rows of the overview for people, in the terminal and on the page."""

from __future__ import annotations

import math
from typing import Any, Literal

Standing = Literal["good", "unsure", "bad"]

NO_FAULT = frozenset({"ok", "uncommitted"})
ALWAYS_BAD = frozenset({"past_end", "stopped", "stalled", "retry_loop"})
BEHIND = frozenset({"lagging", "rewound"})
LOSS_SECONDS = 86_400.0
"""Losses further off than that are not on anybody's mind at night."""
VAGUE_SECONDS, VAGUE_RATIO = 1.0, 0.1
"""An age that may be off by more than both, the second as a part of it, is called vague."""

MINUTE, HOUR, DAY = 60, 3_600, 86_400
TENTHS_BELOW = 10


def number(value: float | None, digits: int) -> str:
    """Format a number for people; unknown is a dash."""
    return "-" if value is None else f"{value:,.{digits}f}"


def duration(seconds: float | None) -> str:
    """Format a duration with its two largest units, cut off and not rounded; unknown is a dash.

    What is more than nothing is not shown as nothing.
    """
    if seconds is None:
        return "-"
    whole = math.floor(seconds)
    if not seconds:
        return "0 s"
    if whole < TENTHS_BELOW:
        return f"{max(math.floor(seconds * 10) / 10, 0.1):.1f} s"
    for unit, large, small, low in (
        (DAY, "d", "h", HOUR),
        (HOUR, "h", "m", MINUTE),
        (MINUTE, "m", "s", 1),
    ):
        if whole >= unit:
            return f"{whole // unit} {large} {whole % unit // low} {small}"
    return f"{whole} s"


def names(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return source, destination and group of a subscription, by which people know it.

    A RabbitMQ queue stands with its vhost, unless that is the first one, `/`. A group that does not apply is empty.
    """
    vhost = row.get("vhost")
    destination = row["destination"]
    named = destination if vhost in (None, "/") else f"{vhost}/{destination}"
    return row["source"], named, row["group"] or ""


def lag(row: dict[str, Any]) -> str:
    """Format a subscription's lag; `≥` marks a lower bound, which is all there is while a partition is unreadable."""
    messages, at_least = row["lag_messages"], row.get("lag_messages_at_least")
    if messages is None and at_least is not None:
        return "≥" + number(at_least, 0)
    return number(messages, 0)


def age(row: dict[str, Any]) -> str:
    """Format a subscription's age; `~` marks one that may be off by much, `≥` a lower bound."""
    seconds, off = row["lag_seconds"], row["lag_seconds_uncertainty"]
    at_least = row.get("lag_seconds_at_least")
    if seconds is None and at_least is not None:
        return "≥" + duration(at_least)
    vague = seconds is not None and off is not None and off > VAGUE_SECONDS
    return ("~" if vague and off > VAGUE_RATIO * seconds else "") + duration(seconds)


def loss(row: dict[str, Any]) -> str:
    """Format how soon messages will be lost; empty where that is a day away or more, or is not known."""
    seconds = row["time_to_loss_seconds"]
    if seconds is None or seconds >= LOSS_SECONDS:
        return ""
    return duration(seconds) if seconds else "now"


def standing(row: dict[str, Any]) -> Standing:
    """Judge by a subscription's status how its backlog stands.

    Bad is one that stands still, whose messages fail again and again, that is past a threshold and does not get smaller, or whose position is past the end.
    """
    status = row["status"]
    if status in NO_FAULT:
        return "good"
    if status in ALWAYS_BAD or (status in BEHIND and row["drains"] is False):
        return "bad"
    return "unsure"


def plain(word: str | None) -> str:
    """Return a status or a cause as people write it."""
    return "" if word is None else word.replace("_", " ")
