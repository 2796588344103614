"""Hides the values of sources that grow too old, and tells which of the daemon's loops are stuck."""

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
"""A process that was stopped for a while gets so long to come round before it is called stuck."""


class SourceWatchdog:
    """A loop of its own, which goes on whatever the main loop and the tasks do."""

    def __init__(
        self, pulses: Callable[[], Sequence[Pulse]], sources: Callable[[], Sequence[Source]]
    ) -> None:
        """`pulses` returns those of the loops that are watched besides the sources' tasks."""
        self._pulses = pulses
        self._sources = sources
        self._over = threading.Event()
        self._stuck: dict[str, str] = {}
        """What was wrong with which loop at the last round."""
        self._log = structlog.get_logger(__name__)
        self.pulse = Pulse("the loop that hides old values")

    def start(self) -> None:
        """SourceWatchdog from now on."""
        threading.Thread(target=self._loop, name="watch", daemon=True).start()

    def stop(self) -> None:
        """SourceWatchdog nothing any more."""
        self._over.set()

    def faults(self) -> dict[str, str]:
        """Return the loops that do not go on: what each is, and what is wrong with it."""
        now = time.monotonic()
        found = {pulse.name: pulse.fault(now) for pulse in self._pulses()}
        for source in self._sources():
            found.update(source.faults(now))
        return {name: fault for name, fault in found.items() if fault is not None}

    async def unhealthy(self) -> dict[str, str]:
        """Return the loops that are stuck; a process that was stopped for a while gets a moment to come round."""
        faults = self.faults()
        if faults:
            await asyncio.sleep(SETTLE_SECONDS)
            faults = self.faults()
        return faults

    def _loop(self) -> None:
        """Hide what grows too old, and log which loops are stuck, until stopped."""
        while not self._over.is_set():
            self.pulse.beat(time.monotonic(), LOOP_SECONDS, threading.current_thread())
            for source in self._sources():
                try:
                    source.expire()
                except Exception:  # noqa: BLE001 - the others are hidden in time all the same
                    self._log.exception("source.expire_failed", source=source.config.name)
            self._report_faults()
            self._over.wait(TICK)
        self.pulse.end()

    def _report_faults(self) -> None:
        """Log each loop that is stuck, once, and when it goes on."""
        faults = self.faults()
        for name in faults.keys() - self._stuck.keys():
            self._log.error("loop.stuck", loop=name, error=faults[name])
        for name in self._stuck.keys() - faults.keys():
            self._log.warning("loop.goes_on", loop=name)
        self._stuck = faults
