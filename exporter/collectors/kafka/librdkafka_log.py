"""Forwards librdkafka's log to structlog, and to a listener that finds out why connections fail."""

from __future__ import annotations

import logging
from collections.abc import Callable

import structlog

from exporter.collectors.kafka.errors import harmless


class _Forward(logging.Handler):
    """Forwards log records of librdkafka to structlog."""

    def __init__(self, source: str, on_line: Callable[[str], None]) -> None:
        super().__init__()
        self._log = structlog.get_logger("librdkafka").bind(source=source)
        self._on_line = on_line

    def emit(self, record: logging.LogRecord) -> None:
        # The failed task reports the error; these lines may repeat it many times a second.
        line = record.getMessage()
        self._on_line(line)
        self._log.debug("librdkafka.message", text=harmless(line))


def librdkafka_logger(source: str, on_line: Callable[[str], None]) -> logging.Logger:
    """Return the logger for a client of the source.

    Lines are logged at debug and passed to `on_line`.
    """
    logger = logging.Logger(f"librdkafka.{source}", logging.INFO)  # noqa: LOG001 - not shared, so not leaked
    logger.addHandler(_Forward(source, on_line))
    return logger
