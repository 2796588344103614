"""Counts existing groups that are not shown, by kind, and logs them once with their names."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from exporter.model import HiddenKind

NAMED = 10
"""Maximum number of names in a log line."""

Hidden = Mapping[HiddenKind, Mapping[str, str]]
"""Kind to group names and why each group is not shown."""


def names_of(groups: Mapping[str, str]) -> str:
    """Return the first names as text."""
    names = sorted(groups)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


class HiddenGroups:
    """Counts hidden groups across polls."""

    def __init__(self, source: str) -> None:
        self._log = structlog.get_logger(__name__).bind(source=source)
        self._logged: dict[HiddenKind, frozenset[str]] = {}

    def count(self, hidden: Hidden) -> dict[str, int]:
        """Return the number of groups of each kind, and log changes."""
        for kind in {*hidden, *self._logged}:
            groups = hidden.get(kind, {})
            before = self._logged.get(kind, frozenset())
            if groups and not before.issuperset(groups):
                self._log.warning(
                    "groups.not_shown",
                    kind=kind,
                    count=len(groups),
                    groups=names_of(groups),
                    error=next(iter(groups.values())),
                )
            elif before and not groups:
                self._log.info("groups.all_shown", kind=kind)
            self._logged[kind] = frozenset(groups)
        return {kind: len(groups) for kind, groups in hidden.items() if groups}
