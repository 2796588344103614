"""Groups that exist and are not shown: how many of which kind, said once in the log with their names."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from exporter.model import HiddenKind

NAMED = 10
"""Names in a line of the log."""

Hidden = Mapping[HiddenKind, Mapping[str, str]]
"""Kind to the names of groups, and why each is not shown."""


def names_of(groups: Mapping[str, str]) -> str:
    """Return the first names in words."""
    names = sorted(groups)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


class HiddenGroups:
    """Counts them from look to look."""

    def __init__(self, source: str) -> None:
        self._log = structlog.get_logger(__name__).bind(source=source)
        self._said: dict[HiddenKind, frozenset[str]] = {}

    def count(self, hidden: Hidden) -> dict[str, int]:
        """Return how many there are of each kind, and log what is new."""
        for kind in {*hidden, *self._said}:
            groups = hidden.get(kind, {})
            before = self._said.get(kind, frozenset())
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
            self._said[kind] = frozenset(groups)
        return {kind: len(groups) for kind, groups in hidden.items() if groups}
