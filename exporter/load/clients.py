"""What a workload needs of a system: somebody who sends, and somebody who takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class LoadError(Exception):
    """A system can't be used for a workload, and what to do."""


class Taken(NamedTuple):
    """A delivery."""

    body: bytes
    handle: Any


class Sender(Protocol):
    """Sends messages; made and used in one thread."""

    def send(self, bodies: Sequence[bytes]) -> int:
        """Send; return how many the broker has refused since the call before."""

    def close(self) -> int:
        """Wait for what is on its way, and leave; return how many more the broker refused."""


class Taker(Protocol):
    """Takes messages; made and used in one thread."""

    def take(self, seconds: float) -> Taken | None:
        """Return the next delivery, None if none comes in time."""

    def finish(self, taken: Taken) -> None:
        """Say that it is processed."""

    def give_back(self, taken: Taken) -> None:
        """Say that it could not be processed, so that it comes again."""

    def close(self) -> None:
        """Leave; what was taken and not finished comes again."""


class Workload(Protocol):
    """A destination of a system, and clients of it."""

    broken: tuple[type[Exception], ...]
    """What a client raises when its broker is gone."""

    def prepare(self, consumers: int) -> None:
        """Make the destination, for as many consumers at the most. Raises `LoadError`."""

    def sender(self) -> Sender:
        """Connect a sender."""

    def taker(self) -> Taker:
        """Connect a taker."""
