"""Whether a subscription's position moves: for how long it has not, and whether it ever did."""

from __future__ import annotations

from exporter.judgement.evidence import Evidence


class ConsumerProgress:
    """Follows signs that messages are processed: counters, offsets, a changing backlog."""

    __slots__ = (
        "_activity",
        "_consumed",
        "_dormant",
        "_lag",
        "_observed_at",
        "_rewinds",
        "moved_at",
        "progress_at",
    )

    def __init__(self) -> None:
        self.moved_at = 0.0
        """When the position last moved or no message waited; later by the time without polls."""
        self.progress_at = 0.0
        """When the position last moved, whether messages waited or not."""
        self._observed_at: float | None = None
        self._consumed: int | None = None
        self._activity: int | None = None
        self._rewinds = 0
        self._lag: int | None = None
        self._dormant: bool | None = None

    @property
    def dormant(self) -> bool:
        """Whether messages waited without consumers at first sight, and nothing changed since."""
        return bool(self._dormant)

    def observe(self, evidence: Evidence, window: float, *, waiting: bool) -> float:
        """Return the seconds for which the position has not moved although messages waited.

        Time that was not observed does not count.
        """
        if evidence.uncounted:
            moved = self._activity is not None and evidence.activity != self._activity
        elif evidence.consumed is None:
            # Nothing is counted. A backlog that changes may be processed.
            moved = self._lag is not None and evidence.lag is not None and evidence.lag != self._lag
        else:
            moved = self._consumed is not None and evidence.consumed != self._consumed
        moved = moved or evidence.rewinds != self._rewinds
        self._see_dormant(evidence, moved=moved)
        is_first = self._observed_at is None
        if moved or is_first:
            self.progress_at = evidence.at
        if self._observed_at is not None:
            unseen = evidence.at - self._observed_at
            self.moved_at += unseen if unseen > window else 0.0
        self._observed_at = evidence.at
        self._lag, self._consumed, self._rewinds = evidence.lag, evidence.consumed, evidence.rewinds
        if evidence.uncounted or moved or self._activity is None:
            # Messages that left while deliveries were counted show at the next poll without counts.
            self._activity = evidence.activity
        if moved or not waiting or is_first:
            self.moved_at = evidence.at
        return evidence.at - self.moved_at

    def rest(self, at: float, window: float, *, waiting: bool) -> None:
        """Add a poll at which nothing was different."""
        unseen = at - (at if self._observed_at is None else self._observed_at)
        self._observed_at = at
        if not waiting:
            self.moved_at = at
        elif unseen > window:
            self.moved_at += unseen

    def _see_dormant(self, evidence: Evidence, *, moved: bool) -> None:
        if moved or evidence.consumers or evidence.is_new or evidence.repeated_for is not None:
            self._dormant = False
        elif self._dormant is None and evidence.consumers == 0 and evidence.lag is not None:
            self._dormant = evidence.lag > 0
