"""Faults of a group's offsets in one log: messages lost, offsets moved back or past the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from exporter.analysis.logs.past_end import PastEnd


class Incidents:
    """Follows the offsets of one subscription and counts faults."""

    __slots__ = (
        "_below",
        "_orphaned",
        "_regain",
        "_starts",
        "deleted_topic",
        "has_polled",
        "lost",
        "past_end",
        "rewinds",
    )

    def __init__(self) -> None:
        self.lost = 0
        """Messages that retention deleted before they were read."""
        self.rewinds = 0
        """How often an offset moved back."""
        self.past_end: Final = PastEnd()
        self.deleted_topic = 0
        """How often a destination with a committed offset was deleted."""
        self.has_polled = False
        """Whether the offsets have been read at least once."""
        self._orphaned = False
        """Whether there is an offset for a destination that does not exist."""
        self._below: dict[int, int] = {}
        """Partition whose offset is below the log start, to the log start."""
        self._regain: dict[int, int] = {}
        """Partition whose offset moved back, to its value before."""
        self._starts: Sequence[int | None] = ()
        """Log start by partition at the last poll."""

    @property
    def is_rewound(self) -> bool:
        """Whether an offset moved back and has reached neither its value before nor the log end."""
        return bool(self._regain)

    def begin_poll(self) -> None:
        """Begin a poll of the offsets."""
        self.past_end.begin_poll(is_first=not self.has_polled)

    def move(
        self, partition: int, before: int | None, position: int, *, start: int, end: int, high: int
    ) -> int:
        """Record one offset; return how many messages were processed since the last poll.

        `end` is the offset up to which the group can read, `high` the log end.
        """
        # Deleted unread before the last poll: moving past these messages does not process them.
        lost_up_to = self._below.get(partition, 0) if self._below else 0
        if position < start:
            self._below_start(partition, position, start)
        elif self._below:
            self._below.pop(partition, None)
        if position > high:
            self.past_end.observe(partition, position - high, is_first=not self.has_polled)
        else:
            self.past_end.forget(partition)
        if before is None or position == before or position > high:
            return 0
        if position < before:
            self.rewinds += 1
            self._regain.setdefault(partition, before)
            return 0
        if self._regain and (position >= self._regain.get(partition, position) or position == end):
            self._regain.pop(partition, None)
        return max(position - max(before, lost_up_to), 0)

    def end_poll(self, starts: Sequence[int | None]) -> None:
        """End the poll. `starts` are the log starts by partition."""
        self._starts = starts
        self.has_polled = True

    def orphan(self, *, orphaned: bool) -> None:
        """Set whether the destination of an offset does not exist; count the change."""
        if orphaned and not self._orphaned:
            self.deleted_topic += 1
        self._orphaned = orphaned

    def forget(self, partition: int) -> None:
        """Forget a partition that has no offset any more."""
        self.past_end.forget(partition)
        self._below.pop(partition, None)
        self._regain.pop(partition, None)

    def restart(self) -> None:
        """The topic was recreated: count from the next poll."""
        self._below.clear()
        self._regain.clear()
        self._starts = ()

    def _below_start(self, partition: int, position: int, start: int) -> None:
        """Count messages that retention deleted since the last poll and that were not processed."""
        counted = self._below.get(partition)
        if counted is None and partition < len(self._starts):
            counted = self._starts[partition]
        if counted is not None:
            gone = start - max(position, counted)
            if gone > 0:
                self.lost += gone
        self._below[partition] = start
