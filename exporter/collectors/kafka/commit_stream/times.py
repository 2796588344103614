"""When positions were committed, as the records of the topic say."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from exporter.collectors.kafka.commit_stream.records import CommitKey, commit_time
from exporter.model import CommitSpan

MOST_POLLS = 100
"""Polls whose commits are kept if nothing asks for their times."""

Moved = Mapping[CommitKey, tuple[int, bytes]]
"""Key of each position that changed to its offset and the first record that has it."""


class CommitTimes:
    """The times of the commits of some polls."""

    def __init__(self, moved: Moved) -> None:
        self._moved = moved

    def of(self, group: str, topic: str, partition: int, offset: int) -> float | None:
        """Return the Unix time in seconds of the commit of this offset; None if it is unknown."""
        committed, value = self._moved.get(CommitKey(group, topic, partition), (-1, b""))
        return commit_time(value) if committed == offset else None


class MovedPolls:
    """What changed in each poll, handed over from one thread to another."""

    def __init__(self) -> None:
        self._polls: deque[Moved] = deque(maxlen=MOST_POLLS)

    def add(self, moved: Moved) -> None:
        """Add what changed in a poll."""
        self._polls.append(moved)

    def take(self) -> CommitTimes:
        """Return the times of the commits that were added since the last call."""
        moved: dict[CommitKey, tuple[int, bytes]] = {}
        while self._polls:
            moved.update(self._polls.popleft())
        return CommitTimes(moved)


class Moves:
    """The commits that moved offsets since the last poll."""

    def __init__(self) -> None:
        self._latest: dict[CommitKey, tuple[int, bytes]] = {}
        self._spans: dict[tuple[str, str], list[float]] = {}
        """(group, topic) to the first time, the last one, and the longest gap."""

    def add(self, key: CommitKey, offset: int, value: bytes) -> None:
        """Add a commit that moved an offset."""
        self._latest[key] = offset, value
        at = commit_time(value)
        if at is None:
            return
        place = key[:2]
        try:
            span = self._spans[place]
        except KeyError:
            self._spans[place] = [at, at, 0.0]
            return
        gap = at - span[1]
        if gap > 0:
            span[1:] = at, max(span[2], gap)

    def take_latest(self) -> Moved:
        """Return which offsets moved since the last call."""
        latest, self._latest = self._latest, {}
        return latest

    def take_spans(self) -> dict[tuple[str, str], CommitSpan]:
        """Return the times of the commits since the last call, by group and topic."""
        spans, self._spans = self._spans, {}
        return {place: CommitSpan(*times) for place, times in spans.items()}
