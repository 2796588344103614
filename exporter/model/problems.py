"""How a task reports that it could not read everything."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.model.vocabulary import Reason


class CollectError(Exception):
    """A task failed as a whole. The message states the fault and what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that could not be read, and why. The rest of the observation is valid."""

    reason: Reason
    subject: str
    message: str
