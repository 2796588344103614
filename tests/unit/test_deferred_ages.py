"""Ages and latencies with deferred messages, which others overtake."""

from __future__ import annotations

import pytest

from exporter.analysis.queues.place import QueuePlace
from exporter.model import Counts, Depth, Place

PLACE = Place(None, "dates", "remind", "nsqd:4151")
POLL = 10.0
DEFERRED_RATE, RATE = 1, 10
"""Messages a second that are published for later, and that are processed immediately."""


def polls(seconds: float, *, counted: bool) -> tuple[QueuePlace, list[float]]:
    """A busy consumer with 5 messages in flight, and deferred ones; counts of NSQ or RabbitMQ."""
    place = QueuePlace("nsqd:4151", "", 0.0)
    latencies: list[float] = []
    at = 0.0
    while at <= seconds:
        deferred, done = int(at * DEFERRED_RATE), int(at * RATE)
        enqueued = deferred + done + 5
        counts = Counts(PLACE, deferred + 5, enqueued, done if counted else None, 0, 1)
        place.observe_depth(Depth(PLACE, 5, 5, deferred), at)
        moved = place.observe_counts(counts, at)
        if moved is not None and moved.latency is not None:
            latencies.append(moved.latency)
        at += POLL
    return place, latencies


@pytest.mark.parametrize("counted", [False, True])
def test_what_is_published_for_later_makes_nothing_old(*, counted: bool) -> None:
    """600 messages are deferred; the oldest of the five in flight came half a second ago."""
    place, latencies = polls(600.0, counted=counted)
    age = place.age(600.0, None)
    assert age is not None
    assert age <= 3.0
    assert len(latencies) > 50
    assert max(latencies[5:]) <= 5.0
