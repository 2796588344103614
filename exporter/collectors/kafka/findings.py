"""How `check` reports what it tried on many things, such as all groups or all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exporter.model import Finding, Problem

LARGE_PART = 0.5
"""Part of the groups or partitions that, where it cannot be read, makes the check fail."""
NOTHING = "not tested, there is nothing to test it on"


def is_large(missing: Iterable[Any], every: Iterable[Any]) -> bool:
    """Whether so much is missing that the check fails."""
    total = len(list(every))
    return total > 0 and len(list(missing)) >= LARGE_PART * total


def finding_of_many(
    feature: str,
    failed: int,
    total: int,
    things: str,
    good: str,
    problems: Sequence[Problem],
) -> Finding:
    """Return a finding of what was tried on many: it fails the check where a large part cannot be read."""
    if not failed and not problems:
        return Finding(feature, ok=True, detail=good, required=True)
    why = f", for example {problems[0].subject}: {problems[0].message}" if problems else ""
    detail = f"{failed} of {total} {things} cannot be read{why}"
    return Finding(feature, ok=False, detail=detail, required=failed >= LARGE_PART * total)
