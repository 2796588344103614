"""Verifies the offsets from the topic: the coordinators are asked for some groups in each poll."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from exporter.collectors.kafka.commit_stream.table import GroupOffsets
from exporter.collectors.kafka.commit_stream.way import VERIFY_SECONDS
from exporter.model import Positions


class _Returned(NamedTuple):
    """What a coordinator returned for a group that is read from the topic."""

    group: GroupOffsets
    positions: Positions
    commits: int
    """`group.commits` when the coordinator was asked."""


class Verification:
    """The answers to compare in the next poll, and whose turn it is."""

    def __init__(self) -> None:
        self._returned: list[_Returned] = []
        self._last = ""
        """The group that was verified last, in the order of names."""

    def turn(self, names: Sequence[str], interval: float) -> list[str]:
        """Return the groups to ask for now, if a poll comes every `interval` seconds."""
        count = min(math.ceil(len(names) * interval / VERIFY_SECONDS), len(names))
        if not count:
            return []
        ordered = sorted(names)
        begin = bisect.bisect_right(ordered, self._last)
        found = [ordered[(begin + nth) % len(ordered)] for nth in range(count)]
        self._last = found[-1]
        return found

    def add(self, group: GroupOffsets, positions: Positions) -> None:
        """Note what the coordinator returned."""
        self._returned.append(_Returned(group, positions, group.commits))

    def disagreeing(
        self, is_known: Callable[[GroupOffsets], bool], topics: Collection[str]
    ) -> Iterator[GroupOffsets]:
        """Compare what was returned in the last poll with the topic.

        All records that were written before the coordinator was asked have been read meanwhile. A
        group with new ones cannot be compared.
        """
        for group, positions, commits in self._returned:
            unchanged = group.commits == commits and is_known(group)
            if unchanged and not group.is_like(positions.offsets, topics):
                yield group
        self._returned.clear()

    def forget(self) -> None:
        """Forget the answers."""
        self._returned.clear()
