"""How `check` reports tests of many items, for example all groups or all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exporter.model import Finding, Problem

LARGE_SHARE = 0.5
"""Fraction of unreadable groups or partitions at which the check fails."""
NOTHING = "not tested, there is nothing to test it on"


def is_large(missing: Iterable[Any], every: Iterable[Any]) -> bool:
    """Return whether so many are missing that the check fails."""
    total = len(list(every))
    return total > 0 and len(list(missing)) >= LARGE_SHARE * total


def finding_of_many(
    feature: str,
    failed: int,
    total: int,
    things: str,
    good: str,
    problems: Sequence[Problem],
) -> Finding:
    """Return the finding of a test of many items.

    It fails the check if a large share is unreadable.
    """
    if not failed and not problems:
        return Finding(feature, ok=True, detail=good, required=True)
    why = f", for example {problems[0].subject}: {problems[0].message}" if problems else ""
    detail = f"{failed} of {total} {things} cannot be read{why}"
    return Finding(feature, ok=False, detail=detail, required=failed >= LARGE_SHARE * total)
