"""Waiting for events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST, LONGER, LONGEST = 0.05, 1.1, 0.25
"""The first pause in seconds, by which factor the next one is longer, and the longest."""


def wait_until(
    condition: Callable[[], T],
    what: str,
    timeout_seconds: float = 60.0,
    poll_seconds: float | None = None,
) -> T:
    """Wait for the first true result of `condition` and return it.

    Between two calls is a pause of `poll_seconds`, else one that becomes longer. Raises a
    TimeoutError that names `what`.
    """
    pause = FIRST if poll_seconds is None else poll_seconds
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise TimeoutError(
                f"waited {timeout_seconds:g} s for {what}; the last answer was {answer!r}"
            )
        time.sleep(pause)
        if poll_seconds is None:
            pause = min(pause * LONGER, LONGEST)
