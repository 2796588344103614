"""Detects loops of the daemon that are stuck.

Time is an argument, in seconds of the monotonic clock.
"""

from __future__ import annotations

import math
import threading


class Pulse:
    """The heartbeat of one loop.

    In each round, the loop announces the latest time of its next beat.
    """

    def __init__(self, name: str) -> None:
        """`name` is used in messages."""
        self.name = name
        self._beat: tuple[float, float] = (-math.inf, math.inf)
        """Time of the last beat, and when the next is due. One tuple, so that both are replaced
        atomically.
        """
        self._thread: threading.Thread | None = None

    def beat(self, now: float, within: float, thread: threading.Thread | None = None) -> None:
        """Note a beat of the loop, which runs in `thread`.

        The next one is due `within` this many seconds.
        """
        self._beat = (now, now + within)
        self._thread = thread or self._thread

    def end(self) -> None:
        """Expect no more beats: the loop has ended normally."""
        self._beat = (-math.inf, math.inf)
        self._thread = None

    def fault(self, now: float) -> str | None:
        """Return what is wrong with the loop, or None. Before the first beat nothing is wrong."""
        thread, (last, due) = self._thread, self._beat
        if thread is not None and not thread.is_alive():
            return "its thread has ended"
        if now > due:
            return f"no sign of life for {now - last:.0f} s"
        return None
