"""Formats rows of the overview for people, in the terminal and on the page."""

from __future__ import annotations

import math
from typing import Any, Literal

from exporter.model import STATUSES

Standing = Literal["good", "unsure", "bad"]

NO_FAULT = frozenset({"ok", "uncommitted"})
ALWAYS_BAD = frozenset({"past_end", "stopped", "stalled", "retry_loop"})
BEHIND = frozenset({"lagging", "rewound"})
LOSS_SECONDS = 86_400.0
"""Losses further off than that are not on anybody's mind at night."""
SOON_SECONDS = 3_600.0
"""If unread messages will be deleted within this time, the subscription is bad, whatever its status."""
QUIET = frozenset({"abandoned", "dormant"})
"""Statuses of which nobody expects that the messages are read."""
VAGUE_SECONDS, VAGUE_RATIO = 1.0, 0.1
"""An age that may be off by more than both, the second as a part of it, is called vague."""

MINUTE, HOUR, DAY = 60, 3_600, 86_400
TENTHS_BELOW = 10
TENTHS_OF_RATES_BELOW = 100
UNKNOWN = "-"


def number(value: float | None, digits: int) -> str:
    """Format a number for people; unknown is a dash."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def whole(value: float) -> str:
    """Format a count."""
    return number(value, 0)


def rate(value: float) -> str:
    """Format a rate, with tenths below 100."""
    return number(value, 1 if value < TENTHS_OF_RATES_BELOW else 0)


def duration(seconds: float | None) -> str:
    """Format a duration with its two largest units, cut off and not rounded; unknown is a dash.

    What is more than nothing is not shown as nothing.
    """
    if seconds is None:
        return UNKNOWN
    cut = math.floor(seconds)
    if not seconds:
        return "0 s"
    if cut < TENTHS_BELOW:
        return f"{max(math.floor(seconds * 10) / 10, 0.1):.1f} s"
    for unit, large, small, low in (
        (DAY, "d", "h", HOUR),
        (HOUR, "h", "m", MINUTE),
        (MINUTE, "m", "s", 1),
    ):
        if cut >= unit:
            return f"{cut // unit} {large} {cut % unit // low} {small}"
    return f"{cut} s"


def names(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return source, destination and group of a subscription, by which people know it.

    A RabbitMQ queue stands with its vhost, unless that is the first one, `/`. A group that does not apply is empty.
    """
    vhost = row.get("vhost")
    destination = row["destination"]
    named = destination if vhost in (None, "/") else f"{vhost}/{destination}"
    return row["source"], named, row["group"] or ""


def lag(row: dict[str, Any]) -> str:
    """Format a subscription's lag.

    `≥` marks a lower bound: a partition of the subscription cannot be read. `≤` marks an upper bound.
    """
    messages, at_least = row["lag_messages"], row.get("lag_messages_at_least")
    if messages is None:
        return UNKNOWN if at_least is None else "≥" + whole(at_least)
    return ("≤" if row.get("lag_upper_bound") else "") + whole(messages)


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

    Bad is one that stands still, whose messages fail again and again, that is past a threshold and does not get smaller, whose position is past the end, or that loses messages soon.
    Values of a source that cannot be read are not good.
    """
    status = row["status"]
    if status in ALWAYS_BAD or (status in BEHIND and row["drains"] is False) or loses_soon(row):
        return "bad"
    return "good" if status in NO_FAULT and not row.get("stale") else "unsure"


def loses_soon(row: dict[str, Any]) -> bool:
    """Tell whether retention will delete messages within the hour that somebody is expected to read."""
    seconds = row.get("time_to_loss_seconds")
    if seconds is None or seconds >= SOON_SECONDS:
        return False
    return row["status"] not in QUIET and row.get("consumers_expected") is not False


def standings() -> dict[str, Standing]:
    """Return for each status the worst standing of a subscription that has it, the forecast of losses aside."""
    return {status: standing({"status": status, "drains": False}) for status in STATUSES}


def why(row: dict[str, Any]) -> str:
    """Return one line: time to loss, reason of the status, and the most likely cause with its evidence."""
    parts = [losing(row)]
    reason, causes = row["status_reason"], row["causes"]
    if reason and (not causes or causes[0]["evidence"] != reason):
        parts.append(reason)
    if causes:
        parts.append(f"{plain(causes[0]['cause'])}: {causes[0]['evidence']}")
    return "; ".join(part for part in parts if part)


def losing(row: dict[str, Any]) -> str:
    """Say how soon messages will be lost; empty where that is a day away or more, or is not known."""
    soon = loss(row)
    if not soon:
        return ""
    if row["time_to_loss_seconds"]:
        return f"unread messages will be deleted in {soon}"
    return "retention has reached unread messages"


def plain(word: str | None) -> str:
    """Return a status or a cause as people write it."""
    return "" if word is None else word.replace("_", " ")
