"""Logs what users should know about the config that is in force."""

from __future__ import annotations

import structlog

from exporter.config import Config
from exporter.sources.thresholds import switched_off

SWITCH_OFF = "set probe.enabled: false for a source, and nothing is written to its brokers"


class ConfigReport:
    """What the probes write and how to disable that, and which thresholds are off."""

    def __init__(self) -> None:
        self._writes: dict[str, str] = {}
        """Source to what its probe writes, as last logged."""
        self._off: list[str] = []
        """The thresholds that are off, as last logged."""
        self._log = structlog.get_logger(__name__)

    def report(self, config: Config) -> None:
        """Log it, if something of it is different from the last time."""
        writes = {source.name: source.writes for source in config.sources if source.writes}
        if writes and writes != self._writes:
            self._log.info("probe.writes", sources=writes, switch_off=SWITCH_OFF)
        off = switched_off(config)
        if off and off != self._off:
            self._log.info("config.switched_off", thresholds=off)
        self._writes, self._off = writes, off

    def report_change(self, before: Config, after: Config) -> None:
        """Log what a reload cannot change."""
        if after.listen != before.listen:
            self._log.warning("config.needs_restart", key="listen", in_force=before.listen)
        if after.keda != before.keda:
            self._log.warning("config.needs_restart", key="keda")
