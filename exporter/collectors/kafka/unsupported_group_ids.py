"""Group ids that the client library does not support, and the groups hidden because of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import structlog

from exporter.model import HiddenKind

LONGEST = 32_767
"""Maximum bytes of a string in Kafka's protocol.

The broker closes the connection on longer ones.
"""
SURE_AFTER = 3
"""Group lists in a row with a duplicate id before it counts as two groups.

While a coordinator moves, two brokers may briefly list the same group.
"""
ADVICE: Mapping[HiddenKind, str] = {
    "empty_id": (
        "the group id is empty or begins with a NUL character, which the client library does not "
        "support; set a group.id in the consumers, delete the group, or exclude it with "
        "groups.exclude: ['']"
    ),
    "unreadable_id": (
        "the group id contains a NUL character, is not valid UTF-8 or is too long, which the "
        "client library does not support; set another group.id in the consumers, or exclude the "
        "group with groups.exclude"
    ),
}
"""What to do about groups that cannot be requested."""


def hidden_kind(group: str) -> HiddenKind | None:
    """Return why the library does not support this group id; None if it does.

    For some ids it raises. For an id with a NUL it answers for another group. A lone surrogate
    crashes it.
    """
    if not group or group.startswith("\0"):
        return "empty_id"
    try:
        encoded = group.encode()
    except UnicodeEncodeError:
        return "unreadable_id"
    return "unreadable_id" if "\0" in group or len(encoded) > LONGEST else None


class UnsupportedGroupIds:
    """Counts listed groups that cannot be requested, and logs changes."""

    def __init__(self, source: str) -> None:
        self._twice: Counter[str] = Counter()
        self._logged: Mapping[str, int] = {}
        self._log = structlog.get_logger(__name__).bind(source=source)

    def count(self, hidden: Mapping[HiddenKind, int], twice: Iterable[str]) -> dict[str, int]:
        """Return the number of groups of each kind that are not shown.

        `hidden` counts ids that cannot be requested. `twice` are ids that are listed more than
        once: the library cuts an id at its first NUL, so that another group seems to have this id.
        """
        self._twice = Counter({name: self._twice[name] + 1 for name in twice})
        cut = [name for name, times in self._twice.items() if times >= SURE_AFTER]
        found: Counter[str] = Counter(hidden)
        found["unreadable_id"] += len(cut)
        counts = {kind: count for kind, count in found.items() if count}
        if counts != self._logged:
            self._log_change(counts, cut)
        return counts

    def _log_change(self, counts: dict[str, int], cut: list[str]) -> None:
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
