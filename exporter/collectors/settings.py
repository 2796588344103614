"""What the settings of every system's collector have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Settings:
    """One source, as plain data: the process that reads it needs no library of the config file's."""

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

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002 - for those that need one
        """Return the variables that the source's process needs besides those of all, from the daemon's own."""
        return {}

    def learn_secrets(self) -> None:
        """Let the source's secrets be masked from the start; those in files are learned whenever they are read."""
