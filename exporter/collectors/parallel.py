"""Several requests at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from exporter.model import CollectError

THREADS = 8

T = TypeVar("T")


def all_at_once(calls: Sequence[Callable[[], T]]) -> list[T | CollectError]:
    """Return what each call returned, or the `CollectError` that it raised, in their order."""

    def answer(call: Callable[[], T]) -> T | CollectError:
        try:
            return call()
        except CollectError as error:
            return error

    if len(calls) < 2:  # noqa: PLR2004 - nothing to do at the same time
        return [answer(call) for call in calls]
    with ThreadPoolExecutor(min(THREADS, len(calls))) as threads:
        return list(threads.map(answer, calls))
