"""Whether the loops of the daemon go on. Time is passed in, in seconds of the monotonic clock."""

from __future__ import annotations

import math
import threading


class Pulse:
    """The sign of life of one loop: each time round, the loop says when it will be round again at the latest."""

    def __init__(self, name: str) -> None:
        """`name` is what people read when it is missing."""
        self.name = name
        self._beat: tuple[float, float] = (-math.inf, math.inf)
        """When it was given last and when the next is due; one tuple, so that it is read and replaced as a whole."""
        self._thread: threading.Thread | None = None

    def beat(self, now: float, within: float, thread: threading.Thread | None = None) -> None:
        """The loop goes on, and gives the next beat `within` so many seconds. It runs in `thread`."""
        self._beat = (now, now + within)
        self._thread = thread or self._thread

    def end(self) -> None:
        """Expect no beat any more: the loop has ended, as it should."""
        self._beat = (-math.inf, math.inf)
        self._thread = None

    def fault(self, now: float) -> str | None:
        """Return what is wrong with the loop, or None; nothing is before the first beat."""
        thread, (last, due) = self._thread, self._beat
        if thread is not None and not thread.is_alive():
            return "its thread has ended"
        if now > due:
            return f"no sign of life for {now - last:.0f} s"
        return None
