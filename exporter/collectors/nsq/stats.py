"""What an nsqd's `/stats` says, as observations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from exporter.collectors.nsq.selection import EPHEMERAL, Selection
from exporter.model import CollectError, Counts, Depth, Place, Produced

NANO = 1e9


@dataclass
class Reading:
    """What waits at one nsqd, and what it has counted."""

    depths: list[Depth] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    produced: list[Produced] = field(default_factory=list)
    destinations: set[tuple[str | None, str, str | None]] = field(default_factory=set)


def read_stats(
    answer: Any,
    node: str,
    selection: Selection,
    dead: frozenset[str],
    finished: Finished,
) -> Reading:
    """Return what the answer of the nsqd `node` says of the selected topics. Raises `CollectError`.

    `dead` are topics that are not to be read here any more.
    """
    reading = Reading()
    try:
        data = answer.get("data", answer)  # nsq before 1.0 wraps it
        epoch = int(data.get("start_time") or 0)
        for topic in data["topics"] or ():
            name = str(topic["topic_name"])
            if name not in dead and selection.topic(name):
                _topic(reading, topic, node, epoch, selection, finished)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CollectError(
            "invalid", f"{node}: /stats is not what an nsqd answers; is it one?"
        ) from None
    return reading


def _topic(
    reading: Reading,
    topic: Mapping[str, Any],
    node: str,
    epoch: int,
    selection: Selection,
    finished: Finished,
) -> None:
    name = str(topic["topic_name"])
    total, depth = int(topic["message_count"]), int(topic["depth"])
    size = topic.get("message_bytes")
    reading.destinations.add((None, name, node))
    reading.produced.append(
        Produced(None, name, node, total, None if size is None else int(size), epoch)
    )
    channels = topic["channels"] or ()
    if not channels:
        place = Place(None, name, None, node)
        paused = bool(topic.get("paused"))
        reading.depths.append(Depth(place, depth, paused=paused))
        reading.counts.append(Counts(place, depth, total, None, None, 0, epoch=epoch))
    kept = depth if topic.get("paused") else 0
    for channel in channels:
        if selection.channel(str(channel["channel_name"])):
            _channel(
                reading, channel, Place(None, name, channel["channel_name"], node), kept, epoch
            )
            if name.endswith(EPHEMERAL) or str(channel["channel_name"]).endswith(EPHEMERAL):
                reading.counts[-1] = finished.corrected(reading.counts[-1], channel)


def _channel(
    reading: Reading, channel: Mapping[str, Any], place: Place, kept: int, epoch: int
) -> None:
    """Add one channel; `kept` waits in the topic for it, as long as that is paused."""
    flying, deferred = int(channel["in_flight_count"]), int(channel["deferred_count"])
    lag = int(channel["depth"]) + flying + kept
    paused = bool(channel.get("paused")) or kept > 0
    reading.depths.append(Depth(place, lag, flying, deferred, paused))
    reading.counts.append(
        Counts(
            place,
            outstanding=lag + deferred,
            enqueued=int(channel["message_count"]) + kept,
            processed=None,
            redelivered=int(channel["requeue_count"]) + int(channel["timeout_count"]),
            consumers=_clients(channel),
            wait=_slowest(channel.get("e2e_processing_latency")),
            epoch=epoch,
        )
    )


def _clients(channel: Mapping[str, Any]) -> int | None:
    count = channel.get("client_count")
    if count is not None:
        return int(count)
    clients = channel.get("clients")
    return None if clients is None else len(clients)


def _slowest(latency: Any) -> float | None:
    """Return the largest of nsqd's percentiles in seconds; a count of 0 means idle, not fast."""
    if not isinstance(latency, dict) or not latency.get("count"):
        return None
    values = [int(each["value"]) for each in latency.get("percentiles") or ()]
    return max(values) / NANO if values else None


class _Seen(NamedTuple):
    """An ephemeral channel at one look."""

    epoch: int
    left: int
    clients: Mapping[tuple[str, int], int]
    finished: int
    dropped: int


class Finished:
    """Tells what ephemeral channels dropped: what left them and was finished by none of their clients.

    An ephemeral channel that is full lets messages go without a word. nsqd counts what each client finished, as long as it
    is connected: between two looks at which the same clients were there, the difference was dropped.
    """

    def __init__(self) -> None:
        self._seen: dict[Place, _Seen] = {}

    def corrected(self, counts: Counts, channel: Mapping[str, Any]) -> Counts:
        """Return the counts with what clients processed and what was dropped, each since the first look."""
        clients = {
            (str(client["remote_address"]), int(client["connect_ts"])): int(client["finish_count"])
            for client in channel.get("clients") or ()
        }
        left = (counts.enqueued or 0) - counts.outstanding
        before = self._seen.get(counts.place)
        if before is None or before.epoch != counts.epoch:
            now = _Seen(counts.epoch, left, clients, left, 0)
        else:
            moved = max(left - before.left, 0)
            done = moved
            if before.clients.keys() <= clients.keys():
                done = sum(count - before.clients.get(who, 0) for who, count in clients.items())
                done = min(max(done, 0), moved)
            now = _Seen(
                counts.epoch,
                left,
                clients,
                before.finished + done,
                before.dropped + moved - done,
            )
        self._seen[counts.place] = now
        return counts._replace(processed=now.finished, dropped=now.dropped)

    def keep(self, places: Iterator[Place]) -> None:
        """Forget all other channels."""
        kept = set(places)
        self._seen = {place: seen for place, seen in self._seen.items() if place in kept}
