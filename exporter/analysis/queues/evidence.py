"""The facts about each subscription of a queue source that its judge uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from exporter.analysis.queues.state import QueueState
from exporter.analysis.queues.subscription import QueueSubscription
from exporter.judgement.evidence import Evidence, PartitionBacklog
from exporter.model import Words


def queue_evidence(
    state: QueueState, now: float, clock: float, hold: float
) -> Iterator[tuple[QueueSubscription, Evidence]]:
    """Return the facts about each subscription read at `now`; `clock` is that Unix time."""
    for sub in state.subscriptions.values():
        if any(place.read_at == now for place in sub.places.values()):
            yield sub, _evidence(sub, state, hold, now, clock)


def _evidence(
    sub: QueueSubscription, state: QueueState, hold: float, now: float, clock: float
) -> Evidence:
    unreadable = sub.unreadable(hold, now)
    whole = not unreadable
    ages, _ = sub.ages(hold, now, state.settings.method)
    aged = [age for age in ages if age is not None]
    counted = sub.counted
    return Evidence(
        at=now,
        clock=clock,
        lag=sub.total_lag() if whole else None,
        age=max(aged) if whole and len(aged) == len(ages) and aged else None,
        commit_interval=sub.commit_gaps.longest,
        stop=sub.commit_gaps.stop,
        consumed=sub.consumed.values[sub.consumed_slot] if counted else None,
        produced=sub.produced.values[sub.produced_slot] if counted else None,
        redelivered=sub.redelivered or 0,
        rewinds=0,
        consumed_rate=sub.consumed_rate if whole else None,
        produced_rate=sub.produced_rate if whole else None,
        consumers=sub.consumers() if whole else None,
        workers=sub.workers() if whole else None,
        max_consumers=sub.most_consumers(),
        in_flight=sub.in_flight() if whole else None,
        deferred=sub.deferred() or 0,
        unreadable=unreadable,
        is_new=sub.is_new,
        uncounted=not sub.consumed_known,
        activity=sub.activity,
        least_consumed_rate=sub.least_consumed_rate,
        size=sub.queue.mean_size,
        partitions=_partitions(sub, state.settings.words),
        paused=_paused(sub, state.settings.words),
        alarms=state.alarms,
    )


def _partitions(sub: QueueSubscription, words: Words) -> Callable[[], Sequence[PartitionBacklog]]:
    return lambda: [
        PartitionBacklog(f"{words.part} {place.partition}", place.lag or 0)
        for place in sub.places.values()
        if place.partition is not None
    ]


def _paused(sub: QueueSubscription, words: Words) -> Sequence[str]:
    where = [place.partition or "" for place in sub.places.values() if place.paused]
    if not where:
        return ()
    what = words.paused_destination if sub.group is None else words.paused_group
    return (f"{what} is paused on {', '.join(where)}",)
