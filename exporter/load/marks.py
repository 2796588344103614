"""The mark of a run's messages: who sent them, and when."""

from __future__ import annotations

import secrets
import time

RUN_BYTES, TIME_BYTES = 3, 5
MARK_BYTES = RUN_BYTES + TIME_BYTES
"""A mark is the first 8 bytes of a message: NSQ has no headers, and messages can be this small."""
_WRAP = 1 << (8 * TIME_BYTES)
"""Microseconds after which the time in a mark starts again at 0: twelve days."""


class RunMark:
    """Marks messages with a random id of this run and the time since the run began.

    The time is monotonic, so clock changes do not matter. A random message of others looks like one
    of this run with a probability of 1 in 16 million, times the fraction of twelve days that the
    run has taken.
    """

    def __init__(self, run: bytes | None = None) -> None:
        """`run` is the id, for tests."""
        self._run = secrets.token_bytes(RUN_BYTES) if run is None else run
        self._began = time.monotonic()

    def now(self) -> bytes:
        """Return the mark of a message that is sent now."""
        return self._run + (self._elapsed() % _WRAP).to_bytes(TIME_BYTES)

    def sent_at(self, body: bytes) -> float | None:
        """Return the monotonic time at which this run sent the message; None if it did not."""
        if len(body) < MARK_BYTES or not body.startswith(self._run):
            return None
        elapsed = self._elapsed()
        since = (elapsed - int.from_bytes(body[RUN_BYTES:MARK_BYTES])) % _WRAP
        return self._began + (elapsed - since) / 1_000_000 if since <= elapsed else None

    def _elapsed(self) -> int:
        """Return the microseconds since the run began."""
        return int((time.monotonic() - self._began) * 1_000_000)
