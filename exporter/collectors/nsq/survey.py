"""The channels of an NSQ installation. nsqd does not say when a channel last moved."""

from __future__ import annotations

from exporter.model import QueueBacklog, Survey, Surveyed

Channel = tuple[str, str]
"""Topic and channel."""


def survey_of(backlog: QueueBacklog) -> Survey:
    """Return the names, and the number of consumers of each channel on all nsqds."""
    consumers: dict[Channel, int | None] = {}
    for counts in backlog.counts:
        place = counts.place
        if place.group is None:
            continue
        channel = (place.destination, place.group)
        before = consumers.get(channel, 0)
        unknown = before is None or counts.consumers is None
        consumers[channel] = None if unknown else (before or 0) + (counts.consumers or 0)
    places = (depth.place for depth in backlog.depths)
    channels = dict.fromkeys((p.destination, p.group) for p in places if p.group is not None)
    # A channel on a nsqd that does not answer may have consumers there.
    whole = not backlog.problems
    return Survey(
        frozenset((None, destination) for _, destination, _ in backlog.destinations),
        frozenset(group for _, group in channels),
        [
            Surveyed(
                None, topic, group, consumers.get((topic, group)) if whole else None, "unknown"
            )
            for topic, group in channels
        ],
        backlog.problems,
    )
