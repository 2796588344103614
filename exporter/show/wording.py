"""Formats rows of the overview for people, in the terminal and on the page."""

from __future__ import annotations

import math
from typing import Any, Literal

from exporter.model import STATUSES

Standing = Literal["good", "unsure", "bad"]

NO_FAULT = frozenset({"ok", "uncommitted", "dormant"})
ALWAYS_BAD = frozenset({"past_end", "stopped", "stalled", "retry_loop"})
BEHIND = frozenset({"lagging", "rewound"})
LOSS_SECONDS = 86_400.0
"""Losses further away are not shown."""
SOON_SECONDS = 3_600.0
"""If unread messages will be deleted within this time, the standing is bad."""
QUIET = frozenset({"abandoned", "dormant"})
"""Statuses of subscriptions that nobody is expected to read."""
VAGUE_SECONDS, VAGUE_RATIO = 1.0, 0.1
"""An age is marked as vague if its uncertainty exceeds both, in seconds and as a fraction of the
age.
"""

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
    """Format a duration with its two largest units, truncated; unknown is a dash.

    A positive duration is never shown as 0.
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


def advice(row: dict[str, Any]) -> str:
    """Return how many consumers are advised, marked with (!) if the number is held.

    Empty if nothing is advised.
    """
    found = row.get("scaling")
    if found is None:
        return ""
    return whole(found["desired_consumers"]) + (" (!)" if found["held"] else "")


def names(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return source, destination and group of a subscription as shown to people.

    A RabbitMQ queue is shown with its vhost, unless that is the default one, `/`. A group that does
    not apply is empty.
    """
    vhost = row.get("vhost")
    destination = row["destination"]
    named = destination if vhost in (None, "/") else f"{vhost}/{destination}"
    return row["source"], named, row["group"] or ""


def lag(row: dict[str, Any]) -> str:
    """Format a subscription's lag.

    `≥` marks a lower bound: a partition of the subscription cannot be read. `≤` marks an upper
    bound.
    """
    messages, at_least = row["lag_messages"], row.get("lag_messages_at_least")
    if messages is None:
        return UNKNOWN if at_least is None else "≥" + whole(at_least)
    return ("≤" if row.get("lag_upper_bound") else "") + whole(messages)


def age(row: dict[str, Any]) -> str:
    """Format a subscription's age; `~` marks a large uncertainty, `≥` a lower bound."""
    seconds, off = row["lag_seconds"], row["lag_seconds_uncertainty"]
    at_least = row.get("lag_seconds_at_least")
    if seconds is None and at_least is not None:
        return "≥" + duration(at_least)
    vague = seconds is not None and off is not None and off > VAGUE_SECONDS
    return ("~" if vague and off > VAGUE_RATIO * seconds else "") + duration(seconds)


def loss(row: dict[str, Any]) -> str:
    """Format the time until messages are lost; empty if that is a day away or more, or unknown."""
    seconds = row["time_to_loss_seconds"]
    if seconds is None or seconds >= LOSS_SECONDS:
        return ""
    return duration(seconds) if seconds else "now"


def standing(row: dict[str, Any]) -> Standing:
    """Judge a subscription's backlog by its status.

    Bad is a subscription that has stopped, whose messages fail again and again, that is past a
    threshold and does not drain, whose position is past the end, or that will lose unread messages
    within the hour. Values of an unreadable source are never good.
    """
    status = row["status"]
    if status in ALWAYS_BAD or (status in BEHIND and row["drains"] is False) or loses_soon(row):
        return "bad"
    return "good" if status in NO_FAULT and not row.get("stale") else "unsure"


def loses_soon(row: dict[str, Any]) -> bool:
    """Return whether retention will delete messages within the hour that should be read."""
    seconds = row.get("time_to_loss_seconds")
    if seconds is None or seconds >= SOON_SECONDS:
        return False
    return row["status"] not in QUIET and row.get("consumers_expected") is not False


def standings() -> dict[str, Standing]:
    """Return the worst standing that a subscription of each status can have, without losses."""
    return {status: standing({"status": status, "drains": False}) for status in STATUSES}


def why(row: dict[str, Any]) -> str:
    """Return one line with time to loss, reason of the status, and the likeliest cause."""
    parts = [losing(row)]
    reason, causes = row["status_reason"], row["causes"]
    if reason and (not causes or causes[0]["evidence"] != reason):
        parts.append(reason)
    if causes:
        parts.append(f"{plain(causes[0]['cause'])}: {causes[0]['evidence']}")
    return "; ".join(part for part in parts if part)


def losing(row: dict[str, Any]) -> str:
    """Return how soon messages will be lost; empty if unknown, or a day away or more."""
    soon = loss(row)
    if not soon:
        return ""
    if row["time_to_loss_seconds"]:
        return f"unread messages will be deleted in {soon}"
    return "retention has reached unread messages"


def plain(word: str | None) -> str:
    """Return a status or cause with spaces, as people write it."""
    return "" if word is None else word.replace("_", " ")
