"""What a workload needs of a system: senders and receivers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class LoadError(Exception):
    """A system cannot be used for a workload. The message says what to do."""


class Delivery(NamedTuple):
    """A delivered message."""

    body: bytes
    handle: Any


class Sender(Protocol):
    """Sends messages. Created and used in one thread."""

    def send(self, bodies: Sequence[bytes]) -> int:
        """Send; return how many messages the broker has refused since the last call."""

    def close(self) -> int:
        """Wait for pending messages and disconnect; return how many more the broker refused."""


class Receiver(Protocol):
    """Receives messages. Created and used in one thread."""

    def receive(self, seconds: float) -> Delivery | None:
        """Return the next delivery; None if none arrives in time."""

    def finish(self, delivery: Delivery) -> None:
        """Mark the delivery as processed."""

    def reject(self, delivery: Delivery) -> None:
        """Mark the delivery as failed, so that it is delivered again."""

    def close(self) -> None:
        """Disconnect; unfinished deliveries are delivered again."""


class Workload(Protocol):
    """A destination in a system, and its clients."""

    broken: tuple[type[Exception], ...]
    """Exceptions that a client raises when its broker is gone."""

    def prepare(self, consumers: int) -> None:
        """Create the destination for at most this many consumers. Raises `LoadError`."""

    def sender(self) -> Sender:
        """Connect a sender."""

    def receiver(self) -> Receiver:
        """Connect a receiver."""
