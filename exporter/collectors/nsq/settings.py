"""Settings of an NSQ collector: plain data, so its process needs no config library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from exporter.collectors.access import Login, Tls
from exporter.collectors.settings import Settings
from exporter.name_filter import EVERYTHING, NOTHING, NameMatcher


@dataclass(frozen=True)
class NsqSettings(Settings):
    """One installation, and what to read from it."""

    TASKS = ("discovery", "backlog", "probe")
    EARLY_AFTER: ClassVar[Mapping[str, float]] = {"backlog": 0.25}

    lookupds: tuple[str, ...] = ()
    """HTTP addresses."""
    nsqds: tuple[str, ...] = ()
    """HTTP addresses of nsqds in the config."""
    tls: Tls = field(default_factory=Tls)
    login: Login = field(default_factory=Login)
    trusted: NameMatcher = NOTHING
    """Hosts that are sent login and secret although they are not in the config."""
    destinations: NameMatcher = EVERYTHING
    groups: NameMatcher = EVERYTHING
    internals: bool = False
    probe: bool = True
    probe_topic: str = "mq-lag-exporter-probe"
    probe_deadline: float = 5.0
    """Seconds after which a probe is lost."""
    probe_tls: bool = False
    auth_secret: str | None = field(default=None, repr=False)
    auth_secret_file: Path | None = None

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks to run."""
        return self.TASKS if self.probe else self.TASKS[:-1]
