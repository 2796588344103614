"""Positions past the end of the log: the topic was truncated or recreated, or the offsets come from elsewhere."""

from __future__ import annotations


class PastEnd:
    """Follows the partitions of one subscription whose committed offset is past the log end."""

    __slots__ = ("_messages", "_not_counted", "count")

    def __init__(self) -> None:
        self.count = 0
        """Times that a partition was first seen so."""
        self._not_counted = 0
        """Those of the first look: counted at the next, so that the counter is seen to rise from 0."""
        self._messages: dict[int, int] = {}

    @property
    def messages(self) -> int:
        """By how many messages positions are past the end now, all partitions together."""
        return sum(self._messages.values()) if self._messages else 0

    def begin_poll(self, *, is_first: bool) -> None:
        """Begin a look at the subscription."""
        if self._not_counted and not is_first:
            self.count += self._not_counted
            self._not_counted = 0

    def observe(self, partition: int, messages: int, *, is_first: bool) -> None:
        """Take a position that is `messages` past the end."""
        if partition not in self._messages:
            if is_first:
                self._not_counted += 1
            else:
                self.count += 1
        self._messages[partition] = messages

    def forget(self, partition: int) -> None:
        """The partition's position is not past the end, or is gone."""
        if self._messages:
            self._messages.pop(partition, None)
