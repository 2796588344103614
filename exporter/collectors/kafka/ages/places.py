"""A place in a partition, and what reading there found."""

from __future__ import annotations

from typing import NamedTuple

Place = tuple[int, bool]
"""An offset, and whether only committed records count there."""


class ReadRecord(NamedTuple):
    """What was found by reading at an offset."""

    time: float | None
    """Unix time in seconds; None where the record has none; inf at the partition's end."""
    offset: int
    """The record's."""
    end: int
    """The partition's end when it was read."""
    look: int = 0
    """Number of the look at which it was read."""
    stamped: bool = False
    """Whether the broker gave the timestamp, and not the producer."""
