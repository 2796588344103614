"""Waiting for events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], what: str, timeout_seconds: float = 60.0, poll_seconds: float = 0.05
) -> T:
    """Wait for the first true result of `condition` and return it.

    Raises a TimeoutError that names `what`.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise TimeoutError(
                f"waited {timeout_seconds:g} s for {what}; the last answer was {answer!r}"
            )
        time.sleep(poll_seconds)
