"""Base class of the collectors' settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Settings:
    """One source, as plain data, so the process that reads it needs no config library."""

    TASKS: ClassVar[tuple[str, ...]] = ()
    """In the order of a single pass (`once`): each task can use what the ones before it found."""
    FOLLOWS: ClassVar[Mapping[str, str]] = {}
    """Task to the task that it runs right after."""
    EARLY_AFTER: ClassVar[Mapping[str, float]] = {}
    """Task to the part of its interval after which it may run early."""

    name: str

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks to run."""
        return self.TASKS

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002 - for subclasses
        """Return the environment variables that only this source's process needs.

        `environ` is the daemon's environment.
        """
        return {}

    def learn_secrets(self) -> None:
        """Mask the source's secrets from the start.

        Secrets in files are learned whenever they are read.
        """
