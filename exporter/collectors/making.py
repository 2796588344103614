"""Makes the collector of a source from its system's row."""

from __future__ import annotations

import os
from typing import Literal

from exporter.collectors.process.messages import Setup
from exporter.collectors.process.parent import IsolatedCollector
from exporter.collectors.settings import Settings
from exporter.config.shared import SourceConfig
from exporter.model import Collector
from exporter.systems import SYSTEMS, resolve

LogFormat = Literal["json", "console"]


def make_collector(config: SourceConfig, log_format: LogFormat, log_level: str) -> Collector:
    """Return the collector of a source.

    It runs in a separate process, which logs in this format and level.
    """
    system = SYSTEMS[config.system]
    settings: Settings = resolve(system.settings)(config)
    setup = Setup(
        system.collector, settings, log_format, log_level, settings.environment(os.environ)
    )
    return IsolatedCollector(
        config.system, setup, settings.tasks(), settings.FOLLOWS, settings.EARLY_AFTER
    )
