"""Rows of the overview as people read them, in the terminal and on the page."""

from __future__ import annotations

import math
from typing import Any, Literal

Standing = Literal["good", "unsure", "bad"]

LATE_SECONDS = 5.0
MANY_MESSAGES = 1_000
"""The thresholds that hold where nobody says otherwise."""
JITTER = 0.9
"""Part of what is produced that has to be consumed; what is between that and all of it comes and goes."""
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
    """Judge how a subscription's backlog stands.

    Bad is one past a threshold that does not get better. A consumer whose rate is a little below that of the producers,
    or whose oldest message waits for the next commit, is not.
    """
    lag, seconds = row["lag_messages"], row["lag_seconds"]
    produced, consumed = row["produced_messages_per_second"], row["consumed_messages_per_second"]
    if lag == 0:
        return "good"
    late = seconds is not None and seconds > LATE_SECONDS + row["commit_interval_seconds"]
    past = late or (lag is not None and lag > MANY_MESSAGES)
    if lag is None or produced is None or consumed is None:
        return "unsure"
    behind = consumed < JITTER * produced
    if (past and behind) or (late and consumed <= produced):
        return "bad"
    return "unsure" if past or behind or seconds is None else "good"
