"""Several requests at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from exporter.model import CollectError

THREADS = 8

T = TypeVar("T")


class Pool:
    """Threads that stay, and with them the connections that each of them has."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS)

    def all_at_once(self, calls: Sequence[Callable[[], T]]) -> list[T | CollectError]:
        """Return what each call returned, or the `CollectError` that it raised, in their order."""

        def answer(call: Callable[[], T]) -> T | CollectError:
            try:
                return call()
            except CollectError as error:
                return error

        return list(self._threads.map(answer, calls))

    def close(self) -> None:
        """Let the threads end when they have nothing to do."""
        self._threads.shutdown(wait=False)
