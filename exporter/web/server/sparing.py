"""Limits log events that clients can cause: a few per period, and the number of the others."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger(__name__)

SECONDS = 10.0
MOST = 10
SHOWN = 200
"""Largest number of characters of a client's text."""


class SparingLog:
    """Logs at most `MOST` events of a name in `SECONDS`; the next one has the number left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing logged."""
        self._clock = clock
        self._since = clock()
        self._seen: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def info(self, event: str, **fields: Any) -> None:
        """Log the event, or count it; long texts are truncated."""
        now = self._clock()
        if now - self._since >= SECONDS:
            self._since = now
            self._seen.clear()
        self._seen[event] += 1
        if self._seen[event] > MOST:
            self._left_out[event] += 1
            return
        if left_out := self._left_out.pop(event, 0):
            fields["left_out"] = left_out
        shown = {
            name: value[:SHOWN] if isinstance(value, str) else value
            for name, value in fields.items()
        }
        log.info(event, **shown)
