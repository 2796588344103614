"""The last check of values, so that an impossible number does not cost the whole exposition.

Prometheus rejects an exposition with a number that it cannot read. Collectors check what they read
from a broker. This check finds impossible results of calculations.
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
    """Return the series with values within ±`LARGEST`, and the labels of the others.

    `INFINITY` is kept. A value of None is not shown, and is not one of the others.
    """
    try:
        # One C call for all values: the result is at least as large as each of them, and NaN if one
        # is NaN.
        if math.hypot(*values) <= LARGEST:  # type: ignore[arg-type]
            return labels, values, ()
    except (OverflowError, TypeError):
        pass  # an int too large for a float, or None: check each value
    pairs = list(zip(labels, values, strict=True))
    kept = [(label, value) for label, value in pairs if _is_presentable(value)]
    others = [label for label, value in pairs if value is not None and not _is_presentable(value)]
    return [label for label, _ in kept], [value for _, value in kept], others


def _is_presentable(value: Value) -> bool:
    if value is INFINITY:
        return True
    return isinstance(value, int | float) and -LARGEST <= value <= LARGEST
