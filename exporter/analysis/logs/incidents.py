"""What went wrong with one group's positions in one log: messages lost, positions moved back or past the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from exporter.analysis.logs.past_end import PastEnd


class Incidents:
    """Follows the positions of one subscription from look to look, and counts what is not progress."""

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
        """Messages that retention deleted unread."""
        self.rewinds = 0
        """Times that a position moved back."""
        self.past_end: Final = PastEnd()
        self.deleted_topic = 0
        """Times that the destination of a position ceased to exist."""
        self.has_polled = False
        """Whether the positions were read at all."""
        self._orphaned = False
        """Whether there is a position on a destination that does not exist."""
        self._below: dict[int, int] = {}
        """Partitions whose position is before the log's start, to where the log started."""
        self._regain: dict[int, int] = {}
        """Partitions whose position moved back, to where it was before."""
        self._starts: Sequence[int | None] = ()
        """By partition: where the log started at the last look."""

    @property
    def is_rewound(self) -> bool:
        """Whether a position went back, and has not regained where it was or come to the log's end."""
        return bool(self._regain)

    def begin_poll(self) -> None:
        """Begin a look at the positions."""
        self.past_end.begin_poll(is_first=not self.has_polled)

    def move(
        self, partition: int, before: int | None, position: int, *, start: int, end: int, high: int
    ) -> int:
        """Take one position; returns how many messages were processed since the last one.

        `end` is the offset up to which the group can read, `high` the log end.
        """
        # Deleted unread at the look before: what moves past these was not processed.
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
        """End a look at which the log started at `starts`, by partition."""
        self._starts = starts
        self.has_polled = True

    def orphan(self, *, orphaned: bool) -> None:
        """Note whether there is a position on a destination that does not exist; counts the transition."""
        if orphaned and not self._orphaned:
            self.deleted_topic += 1
        self._orphaned = orphaned

    def forget(self, partition: int) -> None:
        """The partition has no position any more."""
        self.past_end.forget(partition)
        self._below.pop(partition, None)
        self._regain.pop(partition, None)

    def restart(self) -> None:
        """The topic was recreated: count movements from the next poll."""
        self._below.clear()
        self._regain.clear()
        self._starts = ()

    def _below_start(self, partition: int, position: int, start: int) -> None:
        """Count what retention deleted between the last look and this one, as far as it was not processed."""
        counted = self._below.get(partition)
        if counted is None and partition < len(self._starts):
            counted = self._starts[partition]
        if counted is not None:
            gone = start - max(position, counted)
            if gone > 0:
                self.lost += gone
        self._below[partition] = start
