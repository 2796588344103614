"""Names that the client library cannot be asked about, and the groups that therefore are not shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import structlog

from exporter.model import HiddenKind

LONGEST = 32_767
"""Bytes of a string in Kafka's protocol; the broker closes the connection over a longer one."""
SURE_AFTER = 3
"""Listings in a row that have a name twice before two groups are taken to have it.

While a coordinator moves, two brokers may list one and the same group for a moment.
"""
ADVICE: Mapping[HiddenKind, str] = {
    "empty_id": "the group id is empty or begins with a NUL character, which the client library does not support; "
    "set a group.id in the consumers, delete the group, or exclude it with groups.exclude: ['']",
    "unreadable_id": "the group id contains a NUL character, is not valid UTF-8 or is too long, which the client library "
    "does not support; set another group.id in the consumers, or exclude the group with groups.exclude",
}
"""What to do about groups that cannot be asked for."""


def hidden_kind(group: str) -> HiddenKind | None:
    """Return why the library cannot be asked for a group of this id; None where it can.

    It raises for some of these, answers for another group where there is a NUL, and dies of a lone surrogate.
    """
    if not group or group.startswith("\0"):
        return "empty_id"
    try:
        encoded = group.encode()
    except UnicodeEncodeError:
        return "unreadable_id"
    return "unreadable_id" if "\0" in group or len(encoded) > LONGEST else None


class NotShown:
    """Counts the groups that are listed and cannot be asked for, and logs when that changes."""

    def __init__(self, source: str) -> None:
        self._twice: Counter[str] = Counter()
        self._logged: Mapping[str, int] = {}
        self._log = structlog.get_logger(__name__).bind(source=source)

    def count(self, hidden: Mapping[HiddenKind, int], twice: Iterable[str]) -> dict[str, int]:
        """Return how many groups of each kind are not shown.

        `hidden` are those whose ids cannot be asked for, `twice` the ids that one listing has more than once: the library
        cuts an id at its first NUL, so that another group seems to have the id of this one.
        """
        self._twice = Counter({name: self._twice[name] + 1 for name in twice})
        cut = [name for name, times in self._twice.items() if times >= SURE_AFTER]
        found: Counter[str] = Counter(hidden)
        found["unreadable_id"] += len(cut)
        counts = {kind: count for kind, count in found.items() if count}
        if counts != self._logged:
            self._tell(counts, cut)
        return counts

    def _tell(self, counts: dict[str, int], cut: list[str]) -> None:
        self._logged = counts
        if not counts:
            self._log.info("groups.all_shown")
        for kind, count in counts.items():
            self._log.warning(
                "groups.not_shown",
                kind=kind,
                count=count,
                advice=ADVICE.get(kind),  # type: ignore[call-overload]
                **({"listed_twice": cut[:5]} if cut and kind == "unreadable_id" else {}),
            )
