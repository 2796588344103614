"""Formats numbers and times for texts."""

from __future__ import annotations

from datetime import UTC, datetime

KILO = 1024.0
TEN = 10.0
DAY = 86_400.0


def rate(value: float) -> str:
    """Format messages a second."""
    if value >= TEN:
        return f"{value:,.0f}/s"
    return f"{value:.1f}/s" if value else "0/s"


def count(value: int) -> str:
    """Format a number of messages."""
    return f"{value:,}"


def size(value: float) -> str:
    """Format bytes."""
    for unit in ("B", "KB", "MB"):
        if value < KILO:
            return f"{value:.0f} {unit}" if unit == "B" or value >= TEN else f"{value:.1f} {unit}"
        value /= KILO
    return f"{value:.1f} GB"


def share(value: float) -> str:
    """Format a fraction of one in per cent, rounded down: 100 % only if nothing is missing."""
    whole = int(value * 100)
    return f"{whole} %" if whole or not value else "under 1 %"


def moment(at: float, now: float) -> str:
    """Format a Unix time as hours and minutes, with the date if it is more than a day ago."""
    when = datetime.fromtimestamp(at, UTC)
    return when.strftime("%H:%M UTC" if now - at < DAY else "%H:%M UTC on %d %B")


def minutes(seconds: float) -> str:
    """Format a span of time."""
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * 86_400 else f"{seconds / 86_400:.0f} days"


def consumers(number: int) -> str:
    """Format a number of consumers."""
    return "1 consumer" if number == 1 else f"{number} consumers"
