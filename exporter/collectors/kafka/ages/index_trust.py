"""Whether the records that were read confirm the lookups of their partition."""

from __future__ import annotations

CHECKS = 2
"""Records that must agree with a partition's index before it is trusted."""


class IndexTrust:
    """For one partition: whether the records read agreed with its index, and who stamped them.

    A record stamped by the broker proves nothing for earlier records: producers may have stamped
    those.
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
        """Whether enough records with producer timestamps agreed with the index."""
        self._agreed = 0
        self._agreed_stamped = 0
        self._stamped_from: int | None = None
        """First broker-stamped offset read after all producer-stamped ones."""
        self._created_to = -1
        """Last offset read with a producer timestamp."""
        self._disorder_at: int | None = None
        """Last offset read that contradicts the index."""

    @property
    def disordered(self) -> bool:
        """Whether records that still exist have timestamps out of order."""
        return self._disorder_at is not None

    @property
    def anywhere(self) -> bool:
        """Whether the index is trusted at any offset."""
        stamped = self._stamped_from is not None and self._agreed_stamped >= CHECKS
        return self.everywhere or stamped

    def covers(self, offset: int) -> bool:
        """Return whether the index is trusted at an offset."""
        if self.everywhere:
            return True
        return self.anywhere and self._stamped_from is not None and offset >= self._stamped_from

    def begins_after(self, offset: int) -> bool:
        """Return whether broker-stamped records were read that do not confirm an offset."""
        return self._stamped_from is not None and not self.covers(offset)

    def note_read(self, offset: int, *, stamped: bool) -> None:
        """Store who stamped a record: a topic's message.timestamp.type may change over time."""
        if not stamped:
            self._created_to = max(self._created_to, offset)
            if self._stamped_from is not None and self._stamped_from <= offset:
                self._stamped_from, self._agreed_stamped = None, 0
        elif offset > self._created_to:
            known = self._stamped_from
            self._stamped_from = offset if known is None else min(known, offset)

    def note_agreed(self, *, stamped: bool) -> None:
        """Store that the last record given to `note_read` agreed with the index."""
        self._agreed += not stamped
        self._agreed_stamped += stamped
        self.everywhere = self.everywhere or self._agreed >= CHECKS

    def note_disorder(self, offset: int) -> None:
        """Store that a record has a timestamp out of order, or none."""
        self._disorder_at = max(offset, self._disorder_at or 0)

    def forget_below(self, start: int) -> None:
        """Forget disorder among deleted records."""
        if self._disorder_at is not None and start > self._disorder_at:
            self._disorder_at = None

    def clear(self) -> None:
        """Drop everything: the topic was recreated or truncated."""
        self.everywhere = False
        self._agreed = self._agreed_stamped = 0
        self._stamped_from, self._created_to = None, -1
        self._disorder_at = None
