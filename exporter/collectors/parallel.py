"""Several requests at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from exporter.model import CollectError, Deadline

THREADS = 16

T = TypeVar("T")


class Pool:
    """Threads for requests to servers, each known by a key.

    A server that sends its answer byte by byte can hold a request for longer than any deadline. It is then given up, and
    not asked again until it has let go of that.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS)
        self._lock = threading.Lock()
        self._held: set[str] = set()

    def all_at_once(
        self, calls: Mapping[str, Callable[[], T]], deadline: Deadline
    ) -> dict[str, T | CollectError]:
        """Return what each call returned, or the `CollectError` that it raised, by its key."""
        with self._lock:
            futures: dict[str, Future[T]] = {
                key: self._threads.submit(call)
                for key, call in calls.items()
                if key not in self._held
            }
        answers: dict[str, T | CollectError] = {}
        for key in calls:
            found = self._answer(key, futures.get(key), deadline)
            answers[key] = found
        return answers

    def close(self) -> None:
        """Let the threads end when they have nothing to do."""
        self._threads.shutdown(wait=False)

    def _answer(self, key: str, future: Future[T] | None, deadline: Deadline) -> T | CollectError:
        if future is None:
            return CollectError("timeout", f"{key}: still busy with an answer that does not end")
        try:
            answer: T = future.result(max(deadline.remaining(), 0.01))
        except CollectError as error:
            # Its frames hold this future, which holds it: a reply would be kept until the garbage collector runs.
            return error.with_traceback(None)
        except FutureTimeoutError:
            return self._give_up(key, future)
        return answer

    def _give_up(self, key: str, future: Future[T]) -> CollectError:
        if future.cancel():
            return CollectError("timeout", f"{key}: no time left to ask")
        with self._lock:
            self._held.add(key)
        future.add_done_callback(lambda _: self._release(key))
        return CollectError("timeout", f"{key}: the answer did not end in time")

    def _release(self, key: str) -> None:
        with self._lock:
            self._held.discard(key)
