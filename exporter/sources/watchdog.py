"""Hides values that are too old, and detects stuck loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from exporter.liveness import Pulse
from exporter.sources.source import Source

TICK = 0.5
"""Seconds between two rounds."""
LOOP_SECONDS = 30.0
"""A round that takes longer is stuck."""
SETTLE_SECONDS = 0.6
"""After the process was suspended, its loops have this time to continue before they count as
stuck."""


class SourceWatchdog:
    """Runs in a separate thread, independent of the main loop and the tasks."""

    def __init__(
        self, pulses: Callable[[], Sequence[Pulse]], sources: Callable[[], Sequence[Source]]
    ) -> None:
        """`pulses` returns the heartbeats of all other loops than the tasks of the sources."""
        self._pulses = pulses
        self._sources = sources
        self._over = threading.Event()
        self._stuck: dict[str, str] = {}
        """Name of each stuck loop at the last round, to what was wrong."""
        self._log = structlog.get_logger(__name__)
        self.pulse = Pulse("the loop that hides old values")

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._loop, name="watch", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()

    def faults(self) -> dict[str, str]:
        """Return the loops that are stuck, with what is wrong."""
        now = time.monotonic()
        found = {pulse.name: pulse.fault(now) for pulse in self._pulses()}
        for source in self._sources():
            found.update(source.faults(now))
        return {name: fault for name, fault in found.items() if fault is not None}

    async def unhealthy(self) -> dict[str, str]:
        """Return the loops that are stuck. After a suspension, they get a moment to continue."""
        faults = self.faults()
        if faults:
            await asyncio.sleep(SETTLE_SECONDS)
            faults = self.faults()
        return faults

    def _loop(self) -> None:
        """Hide what is too old and log which loops are stuck, until stopped."""
        while not self._over.is_set():
            self.pulse.beat(time.monotonic(), LOOP_SECONDS, threading.current_thread())
            for source in self._sources():
                try:
                    source.expire()
                except Exception:  # noqa: BLE001 - the values of the other sources must be hidden in time
                    self._log.exception("source.expire_failed", source=source.config.name)
            self._report_faults()
            self._over.wait(TICK)
        self.pulse.end()

    def _report_faults(self) -> None:
        """Log each stuck loop once, and log when it continues."""
        faults = self.faults()
        for name in faults.keys() - self._stuck.keys():
            self._log.error("loop.stuck", loop=name, error=faults[name])
        for name in self._stuck.keys() - faults.keys():
            self._log.warning("loop.goes_on", loop=name)
        self._stuck = faults
