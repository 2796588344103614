"""What an NSQ collector is told: plain data, so that its process needs no library of the config file's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.collectors.access import Login, Tls
from exporter.names import EVERYTHING, NOTHING, NameMatcher

TASKS = ("discovery", "backlog", "probe")
"""In the order in which one run of each has most to go by."""

EARLY_AFTER: Mapping[str, float] = {"backlog": 0.25}
"""Part of the interval after which a channel's age should be read again, where that is cheap."""


@dataclass(frozen=True)
class NsqSettings:
    """One installation, and what of it is wanted."""

    name: str
    lookupds: tuple[str, ...] = ()
    """HTTP addresses."""
    nsqds: tuple[str, ...] = ()
    """HTTP addresses of nsqds that are known without asking."""
    tls: Tls = field(default_factory=Tls)
    login: Login = field(default_factory=Login)
    trusted: NameMatcher = NOTHING
    """Hosts that get login and secret although the config does not name them."""
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
        """Return the tasks that there are."""
        return TASKS if self.probe else TASKS[:-1]
