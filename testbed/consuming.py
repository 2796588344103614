"""Consumers that process at a given rate and record what happened when."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from testbed.waiting import wait_until

Outcome = Literal["finish", "requeue", "reject"]

_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Delivery:
    """A delivered message; times are UNIX seconds."""

    body: bytes
    enqueued_at: float
    delivered_at: float
    attempts: int  # 1 for the first delivery; RabbitMQ only tells the first from the others


@dataclass(frozen=True)
class Processed(Delivery):
    """A message that the consumer has finished."""

    outcome: Outcome
    processed_at: float


Handle = TypeVar("Handle")


class PacedConsumer(ABC, Generic[Handle]):
    """Consumes in a thread for the duration of a `with` block, and processes in order of delivery.

    `rate` is in messages per second and may be changed at any time. None means no limit, and 0
    keeps delivered messages unprocessed. A consumer that is late for another reason than a lack of
    messages catches up. Errors of the thread are raised by `stop` and at the end of the block.
    """

    def __init__(
        self, rate: float | None = None, outcome: Callable[[Delivery], Outcome] | None = None
    ) -> None:
        self.rate = rate
        self.processed: list[Processed] = []
        self._outcome = outcome or (lambda _: "finish")
        self._held: deque[tuple[Handle, Delivery]] = deque()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._open()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.stop()
        else:
            self._join()

    def stop(self) -> None:
        """Close the connection: unfinished messages go back to the queue."""
        self._join()
        if self._failure is not None:
            raise self._failure

    @property
    def rate(self) -> float | None:
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._rate = rate
        self._next_at = time.monotonic()

    @property
    def held(self) -> list[Delivery]:
        """Delivered messages that are not processed yet."""
        return [delivery for _, delivery in list(self._held)]

    def wait_processed(self, n: int, timeout_seconds: float = 30.0) -> list[Processed]:
        """Wait until n messages are processed; return the first n."""
        self._wait(lambda: len(self.processed) >= n, f"{n} messages processed", timeout_seconds)
        return self.processed[:n]

    def wait_held(self, n: int, timeout_seconds: float = 30.0) -> list[Delivery]:
        """Wait until at least n messages are delivered and unprocessed; return them."""
        self._wait(lambda: len(self._held) >= n, f"{n} messages held", timeout_seconds)
        return self.held

    def _wait(self, condition: Callable[[], bool], what: str, timeout_seconds: float) -> None:
        def holds() -> bool:
            if self._failure is not None:
                raise self._failure
            return condition()

        wait_until(holds, what, timeout_seconds, poll_seconds=0.01)

    def _join(self) -> None:
        self._stopping.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the consumer does not stop"

    # The thread

    def _run(self) -> None:
        try:
            try:
                while not self._stopping.is_set():
                    self._receive(self._seconds_to_wait())
                    self._process_due()
            finally:
                self._close()
        except Exception as failure:  # noqa: BLE001  it is raised where the test is
            self._failure = failure

    def _process_due(self) -> None:
        while self._held and self._seconds_to_wait() == 0 and not self._stopping.is_set():
            self._process(*self._held[0])

    def _seconds_to_wait(self) -> float:
        """Wait until the next message may be processed, or for the next check."""
        if not self._held or self.rate == 0:
            return _TICK_SECONDS
        if self.rate is None:
            return 0.0
        return min(max(0.0, self._next_at - time.monotonic()), _TICK_SECONDS)

    def _process(self, handle: Handle, delivery: Delivery) -> None:
        outcome = self._outcome(delivery)
        self._settle(handle, outcome)
        self._held.popleft()
        self.processed.append(
            Processed(**vars(delivery), outcome=outcome, processed_at=time.time())
        )
        if self.rate:
            self._next_at += 1 / self.rate

    def _hold(self, handle: Handle, delivery: Delivery) -> None:
        """Called by `_receive` for each delivered message."""
        if not self._held:
            self._next_at = max(self._next_at, time.monotonic())
        self._held.append((handle, delivery))

    # What differs between systems

    @abstractmethod
    def _open(self) -> None:
        """Connects and subscribes."""

    @abstractmethod
    def _receive(self, seconds: float) -> None:
        """Wait at most this long for messages, and note those that arrived."""

    @abstractmethod
    def _settle(self, handle: Handle, outcome: Outcome) -> None:
        """Send the outcome to the broker."""

    @abstractmethod
    def _close(self) -> None:
        """Disconnect; cleanly if there is a connection."""
