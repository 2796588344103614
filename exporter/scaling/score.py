"""The weighted score of a subscription: 1 is at its targets, more is above them."""

from __future__ import annotations

from exporter.scaling.load import Load
from exporter.scaling.policy import Weights

LIMIT = 10.0
"""No part counts for more than this, so that one of them does not hide the others."""


def score(load: Load, weights: Weights) -> float | None:
    """Return the weighted mean of lag, age, rate and inputs, each divided by its target.

    A part that is unknown or has no target does not count. None if none of them is known.
    """
    parts = [
        (weights.lag, _ratio(None if load.lag is None else load.backlog, load.lag_target)),
        (weights.age, _ratio(load.age, load.age_target)),
        (weights.rate, _ratio(load.produced_rate, load.consumed_rate)),
        *((weight, None if part is None else min(part, LIMIT)) for weight, part in load.inputs),
    ]
    known = [(weight, part) for weight, part in parts if part is not None and weight > 0]
    total = sum(weight for weight, _ in known)
    return sum(weight * part for weight, part in known) / total if known else None


def _ratio(value: float | None, target: float | None) -> float | None:
    if value is None or target is None:
        return None
    if not value:
        return 0.0
    return min(value / target, LIMIT) if target > 0 else LIMIT
