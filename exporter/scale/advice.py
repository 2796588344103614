"""The advice for one subscription, as the exporter's JSON has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MOST_CONSUMERS = 1_000_000
"""A larger number is taken for a fault of the answer."""
LARGEST_SCORE = 1e9


@dataclass(frozen=True, slots=True)
class ValidAdvice:
    """Valid advice."""

    desired: int
    """How many consumers the subscription should have."""
    present: int | None
    """How many the exporter sees; None if it does not know."""
    held: str | None
    """Why the advice does not follow the load; None if it does."""
    reason: str
    """One sentence for people."""
    minimum: int | None = None
    maximum: int | None = None
    score: float | None = None
    """1 is at the targets."""


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no valid advice now, so nothing may be changed."""

    kind: Literal["blind", "unreachable"]
    """Whether the exporter has no valid advice, or could not be asked."""
    reason: str
    """Why, for people."""


Poll = ValidAdvice | Missing


def advice_of(row: Mapping[str, Any]) -> Poll:
    """Return the advice in a row of `/api/v1/subscriptions`.

    Whatever is not certainly valid is `Missing`.
    """
    scaling = row.get("scaling")
    if not isinstance(scaling, Mapping):
        return Missing("blind", _absence(row))
    held, reason, score = (scaling.get(key) for key in ("held", "reason", "score"))
    words = reason if isinstance(reason, str) and reason else "no reason given"
    desired = _count(scaling.get("desired_consumers"))
    minimum, maximum = _count(scaling.get("minimum")), _count(scaling.get("maximum"))
    fault = None
    if scaling.get("valid") is not True or row.get("stale") or held == "blind":
        fault = f"the exporter could not read the subscription lately: {words}"
    elif desired is None:
        fault = f"the exporter has no number of consumers to advise: {words}"
    elif maximum is not None and desired > maximum:
        # It may be below the minimum: fewer partitions than that cannot share the work.
        fault = f"the advice of {desired} is above the maximum of {maximum}"
    if fault is not None or desired is None:
        return Missing("blind", fault or words)
    return ValidAdvice(
        desired,
        _count(scaling.get("consumers")),
        None if held is None else str(held),
        words,
        minimum,
        maximum,
        float(score) if isinstance(score, int | float) and 0 <= score <= LARGEST_SCORE else None,
    )


def _absence(row: Mapping[str, Any]) -> str:
    """Return why a row has no advice."""
    if "scaling" not in row:
        return "the exporter gives no scaling advice; update it"
    if row["scaling"] is None:
        return "no line of `scaling` in the exporter's config matches this subscription"
    return "the answer of the exporter is invalid: scaling"


def _count(value: Any) -> int | None:
    """Return a number of consumers, or None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MOST_CONSUMERS else None
