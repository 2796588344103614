"""Offsets past the log end: the topic was truncated or recreated, or the offsets are foreign."""

from __future__ import annotations


class PastEnd:
    """Follows the partitions of one subscription whose committed offset is past the log end."""

    __slots__ = ("_messages", "_not_counted", "count")

    def __init__(self) -> None:
        self.count = 0
        """How often a partition's offset was found to be past the end."""
        self._not_counted = 0
        """Those of the first poll. They are added at the second: the counter has to rise from 0."""
        self._messages: dict[int, int] = {}

    @property
    def messages(self) -> int:
        """Messages by which offsets are past the end now, summed over partitions."""
        return sum(self._messages.values()) if self._messages else 0

    def begin_poll(self, *, is_first: bool) -> None:
        """Begin a poll of the subscription."""
        if self._not_counted and not is_first:
            self.count += self._not_counted
            self._not_counted = 0

    def observe(self, partition: int, messages: int, *, is_first: bool) -> None:
        """Record an offset that is `messages` past the end."""
        if partition not in self._messages:
            if is_first:
                self._not_counted += 1
            else:
                self.count += 1
        self._messages[partition] = messages

    def forget(self, partition: int) -> None:
        """Forget a partition: its offset is not past the end, or does not exist."""
        if self._messages:
            self._messages.pop(partition, None)
