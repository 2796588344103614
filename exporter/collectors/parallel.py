"""Runs several requests at the same time."""

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
    """Threads for requests to servers; each server has a key.

    A server that sends its response byte by byte can make a request last longer than any deadline.
    Such a request is given up, and the server is not asked again until the request has ended.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS)
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    def all_at_once(
        self, calls: Mapping[str, Callable[[], T]], deadline: Deadline
    ) -> dict[str, T | CollectError]:
        """Return what each call returned, or the `CollectError` that it raised, by key."""
        return self._answers(self._begin(calls, self._threads), deadline)

    def close(self) -> None:
        """Let the threads end as soon as they are idle."""
        self._threads.shutdown(wait=False)

    def _begin(
        self, calls: Mapping[str, Callable[[], T]], threads: ThreadPoolExecutor
    ) -> Mapping[str, Future[T] | None]:
        """Start the calls in order.

        None stands for a call whose server is still busy with an earlier one.
        """
        with self._lock:
            return {
                key: None if key in self._busy else threads.submit(call)
                for key, call in calls.items()
            }

    def _answers(
        self, begun: Mapping[str, Future[T] | None], deadline: Deadline
    ) -> dict[str, T | CollectError]:
        """Return the results of the calls up to the deadline."""
        answers: dict[str, T | CollectError] = {}
        for key, future in begun.items():
            found = self._answer(key, future, deadline)
            answers[key] = found
        return answers

    def _answer(self, key: str, future: Future[T] | None, deadline: Deadline) -> T | CollectError:
        if future is None:
            return CollectError("timeout", f"{key}: still waiting for an earlier response")
        try:
            answer: T = future.result(max(deadline.remaining(), 0.0))
        except CollectError as error:
            # The frames of its traceback refer to this future, which refers to the error. This
            # cycle would keep a response until the garbage collector runs.
            return error.with_traceback(None)
        except FutureTimeoutError:
            return self._give_up(key, future)
        return answer

    def _give_up(self, key: str, future: Future[T]) -> CollectError:
        if future.cancel():
            return CollectError("timeout", f"{key}: no time left for the request")
        with self._lock:
            self._busy.add(key)
        future.add_done_callback(lambda _: self._release(key))
        return CollectError("timeout", f"{key}: the response did not end in time")

    def _release(self, key: str) -> None:
        with self._lock:
            self._busy.discard(key)


class FairPool(Pool):
    """Asks many servers, some of which may not exist. These do not delay the others.

    Servers that answered last time have their own threads. The others share some threads, and those
    asked longest ago come first. For use by one task, one run at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answering: frozenset[str] = frozenset()
        self._threads_of_others = ThreadPoolExecutor(THREADS)
        self._turn = 0
        self._asked: dict[str, int] = {}
        """Servers that do not answer: number of the run in which each was last asked."""

    def all_at_once(
        self,
        calls: Mapping[str, Callable[[], T]],
        deadline: Deadline,
        is_answer: Callable[[T], bool] = lambda _: True,
    ) -> dict[str, T | CollectError]:
        """Return what each call returned, or the `CollectError` that it raised, by key.

        `is_answer` gets a call's result and returns whether the server has answered.
        """
        self._turn += 1
        known = {key: call for key, call in calls.items() if key in self._answering}
        others = [key for key in calls if key not in known]
        others.sort(key=lambda key: self._asked.get(key, 0))
        begun = {
            **self._begin(known, self._threads),
            **self._begin({key: calls[key] for key in others}, self._threads_of_others),
        }
        found = self._answers(begun, deadline)
        self._answering = frozenset(
            key
            for key, answer in found.items()
            if not isinstance(answer, CollectError) and is_answer(answer)
        )
        self._asked = {
            key: self._asked.get(key, 0) if _is_unasked(begun[key]) else self._turn
            for key in others
            if key not in self._answering
        }
        return found

    def close(self) -> None:
        """Let the threads end as soon as they are idle."""
        super().close()
        self._threads_of_others.shutdown(wait=False)


def _is_unasked(future: Future[T] | None) -> bool:
    return future is not None and future.cancelled()
