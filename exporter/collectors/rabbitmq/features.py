"""Features that a RabbitMQ cluster does not have, or that the user may not use."""

from __future__ import annotations

from collections.abc import Callable

import structlog

Feature = Callable[[str, bool, str], None]
"""Called with a feature's name, whether it works, and what to do if not."""


class Features:
    """Logs when a feature is found to be missing or available again.

    This is no failure of a run.
    """

    def __init__(self, source: str) -> None:
        self._told: dict[str, bool] = {}
        self._log = structlog.get_logger(__name__).bind(source=source)

    def note(self, name: str, works: bool, advice: str) -> None:
        """Note whether a feature works; `advice` says what to do if not."""
        if self._told.get(name, True) != works:
            self._told[name] = works
            if works:
                self._log.info("feature.found", feature=name)
            else:
                self._log.warning("feature.missing", feature=name, advice=advice)
