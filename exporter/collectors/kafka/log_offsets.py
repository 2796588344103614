"""Compares offsets: logs that went back, commits below the log start or past the end."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from exporter.model import Log, Positions


def open_transactions(logs: Mapping[str, Log]) -> set[str]:
    """Return topics with an open transaction: it will end with a marker, which takes an offset."""
    return {
        topic
        for topic, log in logs.items()
        if any(
            stable is not None and end is not None and stable < end
            for stable, end in zip(log.stable, log.end, strict=True)
        )
    }


def went_back(before: Log, now: Log) -> bool:
    """Return whether an end or start has decreased, or partitions are missing."""
    return len(now.end) < len(before.end) or any(
        old is not None and new is not None and new < old
        for olds, news in ((before.end, now.end), (before.start, now.start))
        for old, new in zip(olds, news, strict=False)
    )


def below_start(
    positions: Mapping[str, Positions], logs: Mapping[str, Log]
) -> dict[tuple[str, str], int]:
    """Count, by group and topic, the partitions with a committed offset below the log start."""
    below = {}
    for group, (_, by_topic) in positions.items():
        for topic, offsets in by_topic.items():
            log = logs.get(topic)
            if log is None:
                continue
            starts = log.start
            known = len(starts)
            count = sum(
                1
                for partition, position in offsets.items()
                if position is not None
                and partition < known
                and (start := starts[partition]) is not None
                and position < start
            )
            if count:
                below[group, topic] = count
    return below


def lagging(
    offsets: Iterable[tuple[str, str, int]],
    positions: Mapping[str, Positions],
    logs: Mapping[str, Log],
    read_committed: Container[str],
) -> dict[tuple[str, str], list[int]]:
    """Return those offsets that are before the log end: (group, topic) to partitions."""
    found: dict[tuple[str, str], list[int]] = {}
    for group, topic, partition in offsets:
        log, known = logs.get(topic), positions.get(group)
        if log is None or known is None:
            continue
        ends = log.stable if group in read_committed else log.end
        end = ends[partition] if partition < len(ends) else None
        position = known.offsets.get(topic, {}).get(partition)
        if end is not None and position is not None and position < end:
            found.setdefault((group, topic), []).append(partition)
    return found


def not_past(again: Positions, first: Positions, logs: Mapping[str, Log]) -> Positions:
    """Return the later commits, but at most the log end that was read before them."""
    merged: dict[str, dict[int, int | None]] = {
        topic: dict(offsets) for topic, offsets in first.offsets.items()
    }
    for topic, offsets in again.offsets.items():
        log = logs.get(topic)
        for partition, position in offsets.items():
            end = log.end[partition] if log is not None and partition < len(log.end) else None
            if position is not None and end is not None:
                position = min(position, end)  # noqa: PLW2901 - the later commit, cut at the end
            merged.setdefault(topic, {})[partition] = position
    return Positions(again.group, merged)
