"""Whether the records that were read vouch for the lookups of their partition."""

from __future__ import annotations

CHECKS = 2
"""Records that have to agree with a partition's index before it is trusted."""


class Trust:
    """Of one partition: whether the records that were read agreed with its index, and who stamped them.

    A record that the broker stamped tells nothing of those before it: their producers may have stamped them.
    """

    __slots__ = (
        "_agreed",
        "_agreed_stamped",
        "_created_to",
        "_disorder_at",
        "_stamped_from",
        "everywhere",
    )

    def __init__(self) -> None:
        self.everywhere = False
        """Whether enough records with producers' timestamps were read, and agreed with the index."""
        self._agreed = 0
        self._agreed_stamped = 0
        self._stamped_from: int | None = None
        """First offset that was read of those after all records with producers' timestamps: the broker stamped it."""
        self._created_to = -1
        """Last offset that was read with its producer's timestamp."""
        self._disorder_at: int | None = None
        """Last offset that was read of those that contradict the index."""

    @property
    def disordered(self) -> bool:
        """Whether timestamps were seen to run backwards, in records that are still there."""
        return self._disorder_at is not None

    @property
    def anywhere(self) -> bool:
        """Whether there are offsets at which the index is trusted."""
        stamped = self._stamped_from is not None and self._agreed_stamped >= CHECKS
        return self.everywhere or stamped

    def covers(self, offset: int) -> bool:
        """Whether the records that were read vouch for the index at an offset."""
        if self.everywhere:
            return True
        return self.anywhere and self._stamped_from is not None and offset >= self._stamped_from

    def begins_after(self, offset: int) -> bool:
        """Whether the broker stamped records that were read, and these do not vouch for an offset."""
        return self._stamped_from is not None and not self.covers(offset)

    def note_read(self, offset: int, *, stamped: bool) -> None:
        """Note who stamped a record: the topic's message.timestamp.type may have been another one before or since."""
        if not stamped:
            self._created_to = max(self._created_to, offset)
            if self._stamped_from is not None and self._stamped_from <= offset:
                self._stamped_from, self._agreed_stamped = None, 0
        elif offset > self._created_to:
            known = self._stamped_from
            self._stamped_from = offset if known is None else min(known, offset)

    def note_agreed(self, *, stamped: bool) -> None:
        """Note that the record last noted as read agreed with the index."""
        self._agreed += not stamped
        self._agreed_stamped += stamped
        self.everywhere = self.everywhere or self._agreed >= CHECKS

    def note_disorder(self, offset: int) -> None:
        """Note that a record has a timestamp that is out of order, or none."""
        self._disorder_at = max(offset, self._disorder_at or 0)

    def forget_below(self, start: int) -> None:
        """Forget the disorder of records that are deleted."""
        if self._disorder_at is not None and start > self._disorder_at:
            self._disorder_at = None

    def clear(self) -> None:
        """Forget all: the log is another."""
        self.everywhere = False
        self._agreed = self._agreed_stamped = 0
        self._stamped_from, self._created_to = None, -1
        self._disorder_at = None
