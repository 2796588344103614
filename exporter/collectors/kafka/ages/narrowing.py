"""Chooses the next timestamp to look up, so that few lookups narrow a bracket enough."""

from __future__ import annotations

from exporter.collectors.kafka.ages.estimates import DISORDER_MS, AgeTolerance
from exporter.collectors.kafka.ages.time_index import Bracket

PATIENCE = 4
"""Lookups by interpolation for one position; after these every second lookup halves the bracket."""
ENOUGH = 0.97
"""Fraction of the tolerance to aim for, because the age it is computed from is itself inexact."""
NEAR = 0.9
"""Fraction of the wanted width within which a guess counts as close to an end of its bracket."""


def narrowing_timestamp(
    offset: int, bracket: Bracket, tries: int, at_ms: int, tolerance: AgeTolerance
) -> int | None:
    """Return a timestamp inside the bracket of an offset.

    None if the bracket is narrow enough or has an open end. The timestamp is chosen so that two or
    three lookups are enough. `tries` counts the lookups for the offset, this one included.
    """
    low, below = bracket.low, bracket.below
    if low is None or below is None or below - low <= 1:
        return None
    width = below - low
    enough = tolerance.milliseconds(at_ms - (low + below) / 2) * ENOUGH
    if (width + DISORDER_MS) / 2 <= enough:
        return None
    share = (offset - bracket.low_offset) / max(bracket.high_offset - bracket.low_offset, 1)
    guess = low + share * width
    wanted = max(2 * tolerance.milliseconds(at_ms - guess) - DISORDER_MS, 1.0) * NEAR
    if tries > PATIENCE and tries % 2:
        guess = (low + below) / 2
    elif guess - low <= wanted:
        guess = low + wanted
    elif below - guess <= wanted:
        guess = below - wanted
    return min(max(round(guess), low + 1), below - 1)
