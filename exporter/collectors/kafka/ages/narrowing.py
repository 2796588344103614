"""Which timestamp to look up next, so that few lookups narrow a bracket enough."""

from __future__ import annotations

from exporter.collectors.kafka.ages.estimates import DISORDER_MS, Tolerance
from exporter.collectors.kafka.ages.time_index import Bracket

PATIENCE = 4
"""Lookups for a position by interpolation, after which the bracket is halved instead."""
ENOUGH = 0.97
"""Part of the tolerance that is aimed at: the age by which it is measured is itself off by a little."""
NEAR = 0.9
"""Part of the wanted width within which a guess is taken for near to a side of its bracket."""


def narrowing_timestamp(
    offset: int, bracket: Bracket, tries: int, at_ms: int, tolerance: Tolerance
) -> int | None:
    """Return a timestamp inside the bracket of an offset; None where the bracket is narrow enough or has an open side.

    It is chosen so that two or three lookups narrow the bracket enough. `tries` counts those for the offset, this one
    among them.
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
