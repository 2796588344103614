"""An offset to read at, and the result of the read."""

from __future__ import annotations

from typing import NamedTuple

ReadPoint = tuple[int, bool]
"""An offset, and whether only committed records count there."""


class ReadRecord(NamedTuple):
    """The result of a read at an offset."""

    time: float | None
    """Unix time in seconds; None if the record has no timestamp; inf at the partition's end."""
    offset: int
    """Offset of the record that was read."""
    end: int
    """End of the partition when the record was read."""
    poll: int = 0
    """Number of the poll in which it was read."""
    stamped: bool = False
    """Whether the broker set the timestamp, and not the producer."""
