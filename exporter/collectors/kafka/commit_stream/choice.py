"""Decides whether following the topic is cheaper than asking the coordinators in each poll."""

from __future__ import annotations

from typing import NamedTuple

GROUP_SECONDS, POSITION_SECONDS = 3e-4, 4e-6
"""CPU seconds to read a group from its coordinator, and more for each committed offset.

Measured with 10,000 groups of 4 partitions, and with 200 groups of 250 (docs/benchmarks.md).
"""
COMMIT_SECONDS = 5e-6
"""CPU seconds to read a commit from the topic."""
LEAST_SECONDS = 0.02
"""CPU seconds a poll below which the choice does not matter."""
GAIN = 2.0
"""How many times cheaper it must be, so that the choice does not change back and forth."""


class Load(NamedTuple):
    """What both ways depend on."""

    groups: int
    positions: int
    commits: float
    """Per poll."""
    verified: float
    """Fraction of the groups whose offsets are verified in a poll."""


def seconds_of_asking(load: Load) -> float:
    """Return the CPU seconds a poll to ask the coordinators for all groups."""
    return load.groups * GROUP_SECONDS + load.positions * POSITION_SECONDS


def seconds_of_following(load: Load) -> float:
    """Return the CPU seconds a poll to read the topic."""
    return load.commits * COMMIT_SECONDS + load.verified * seconds_of_asking(load)


def is_worth_it(load: Load, *, following: bool) -> bool:
    """Return whether to follow the topic."""
    asking, following_costs = seconds_of_asking(load), seconds_of_following(load)
    if following:
        return asking * GAIN > following_costs
    return asking > LEAST_SECONDS and asking > GAIN * following_costs
