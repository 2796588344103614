"""Rows of the overview as people read them, in the terminal and on the page."""

from __future__ import annotations

import math
from typing import Any, Literal

Standing = Literal["good", "unsure", "bad"]

STANDS_STILL = frozenset({"stopped", "stalled"})
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


def age(row: dict[str, Any]) -> str:
    """Format a subscription's age; `~` stands before one that may be off by much."""
    seconds, off = row["lag_seconds"], row["lag_seconds_uncertainty"]
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

    Bad is one that stands still, or is past a threshold and does not get smaller.
    """
    status = row["status"]
    if status == "ok":
        return "good"
    if status in STANDS_STILL or (status in BEHIND and row["drains"] is False):
        return "bad"
    return "unsure"


def plain(word: str | None) -> str:
    """Return a status or a cause as people write it."""
    return "" if word is None else word.replace("_", " ")
