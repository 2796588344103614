"""Limits the rate of requests of all clients together."""

import threading
import time
from collections.abc import Callable


class RateLimit:
    """A token bucket: `burst` requests at once, then one every `interval_seconds`."""

    def __init__(
        self, interval_seconds: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start full; an interval of 0 means no limit."""
        self._interval_seconds, self._burst, self._clock = interval_seconds, burst, clock
        self._tokens, self._filled = float(burst), clock()
        self._lock = threading.Lock()

    def allow(self) -> bool:
        """Return whether one more request may be served now."""
        if not self._interval_seconds:
            return True
        with self._lock:
            now = self._clock()
            self._tokens = min(
                self._burst, self._tokens + (now - self._filled) / self._interval_seconds
            )
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
