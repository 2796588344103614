"""Detects that a source's password or certificate files were replaced.

librdkafka reads them when a client is made. A client that is replaced before the old secrets expire
is never refused because of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError, Deadline, Observation, Reason
from exporter.secret_files import mark_of

O = TypeVar("O", bound=Observation)  # noqa: E741 - an observation
Task = Callable[[Deadline], O]

REFUSED: frozenset[Reason] = frozenset({"unauthorized", "unreachable", "timeout", "invalid"})
"""Failures that an outdated secret may cause.

A failed TLS handshake looks like an unreachable broker.
"""
LEAST_SECONDS = 1.0
"""Minimum remaining time for a second attempt."""


class Renewal:
    """Replaces the clients when the files have changed. Thread-safe, all tasks may use it."""

    def __init__(self, settings: KafkaSettings, renew: Callable[[], None]) -> None:
        """`renew` makes all tasks use new clients from their next call."""
        self._paths = settings.secret_paths()
        self._renew = renew
        self._lock = threading.Lock()
        self._mark: bytes | None = None
        self._is_first = True

    def check_files(self) -> bool:
        """Replace the clients if a file has changed since the last call; return whether one has.

        Unreadable files are being replaced: the current clients are kept until the files are
        readable.
        """
        if not self._paths:
            return False
        with self._lock:
            mark = mark_of(self._paths)
            is_first, self._is_first = self._is_first, False
            if mark is None or mark == self._mark:
                return False
            self._mark = mark
            if not is_first:
                self._renew()
            return not is_first

    def wrap(self, task: Task[O]) -> Task[O]:
        """Return the task with a check of the files before it.

        It is repeated if brokers refused secrets that have been replaced meanwhile.
        """

        def run(deadline: Deadline) -> O:
            self.check_files()
            try:
                found = task(deadline)
            except CollectError as error:
                if not self._should_retry(error.reason, deadline):
                    raise
                return task(deadline)
            reasons = [problem.reason for problem in found.problems]
            if any(self._should_retry(reason, deadline) for reason in dict.fromkeys(reasons)):
                return task(deadline)
            return found

        return run

    def _should_retry(self, reason: Reason, deadline: Deadline) -> bool:
        return reason in REFUSED and deadline.remaining() > LEAST_SECONDS and self.check_files()
