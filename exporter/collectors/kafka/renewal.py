"""Notices when the files with a source's passwords and certificates are replaced.

librdkafka reads them when a client is made. A client that is made again before the old secrets end never has to be
refused with them.
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
"""Failures that a secret which is not valid any more may cause: a TLS handshake fails as an unreachable broker does."""
LEAST_SECONDS = 1.0
"""Time that has to be left for a second try."""


class Renewal:
    """Has the clients made again once the files have changed. Safe to use from the threads of all tasks."""

    def __init__(self, settings: KafkaSettings, renew: Callable[[], None]) -> None:
        """`renew` lets all tasks make new clients at their next use."""
        self._paths = settings.secret_paths()
        self._renew = renew
        self._lock = threading.Lock()
        self._mark: bytes | None = None
        self._is_first = True

    def look(self) -> bool:
        """Have the clients made again if a file has changed since the last look; tell whether one had.

        Files that can't be read now are being replaced: what is in force stays until they can.
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

    def around(self, task: Task[O]) -> Task[O]:
        """Return the task with a look before it, and another try where its secrets were replaced while they were refused."""

        def run(deadline: Deadline) -> O:
            self.look()
            try:
                found = task(deadline)
            except CollectError as error:
                if not self._is_worth_it(error.reason, deadline):
                    raise
                return task(deadline)
            reasons = [problem.reason for problem in found.problems]
            if any(self._is_worth_it(reason, deadline) for reason in dict.fromkeys(reasons)):
                return task(deadline)
            return found

        return run

    def _is_worth_it(self, reason: Reason, deadline: Deadline) -> bool:
        return reason in REFUSED and deadline.remaining() > LEAST_SECONDS and self.look()
