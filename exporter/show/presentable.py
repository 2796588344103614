"""The last check of values before they go on the page, so that one impossible number never costs the whole page.

Prometheus refuses a page with a number that it cannot read. Collectors check what they read from a broker; this finds
what comes out of calculations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.analysis.families import INFINITY, Value

LARGEST = 2.0**63
"""Counts and sizes have 63 bits in every broker."""


def presentable(
    labels: Sequence[str], values: Sequence[Value]
) -> tuple[Sequence[str], Sequence[Value], Sequence[str]]:
    """Return the series whose values are numbers within ±`LARGEST`, and the labels of the others.

    `INFINITY` is kept. A value of None is not shown, and is not one of the others.
    """
    try:
        # One call of the C library for all: above each of the values, and no number where one of them is none.
        if math.hypot(*values) <= LARGEST:  # type: ignore[arg-type]
            return labels, values, ()
    except (OverflowError, TypeError):
        pass  # an int that no float holds, or no number: the others are good
    pairs = list(zip(labels, values, strict=True))
    kept = [(label, value) for label, value in pairs if _is_presentable(value)]
    others = [label for label, value in pairs if value is not None and not _is_presentable(value)]
    return [label for label, _ in kept], [value for _, value in kept], others


def _is_presentable(value: Value) -> bool:
    if value is INFINITY:
        return True
    return isinstance(value, int | float) and -LARGEST <= value <= LARGEST
