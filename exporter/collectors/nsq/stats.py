"""Turns the response of an nsqd's `/stats` into observations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from exporter.collectors.nsq.selection import EPHEMERAL, TopicSelection
from exporter.collectors.reply_rows import (
    RowError,
    Rows,
    amount,
    number,
    number_or_none,
    rows_of,
    text,
)
from exporter.model import CollectError, Counts, Depth, Place, Produced

NANO = 1e9


@dataclass
class NodeStats:
    """Backlog and counters of one nsqd."""

    depths: list[Depth] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    produced: list[Produced] = field(default_factory=list)
    destinations: set[tuple[str | None, str, str | None]] = field(default_factory=set)
    rows: Rows = field(default_factory=Rows)
    """Counts topics and channels that cannot be read."""


def read_stats(
    answer: Any,
    node: str,
    selection: TopicSelection,
    dead: frozenset[str],
    finished: Finished,
) -> NodeStats:
    """Return the stats of the selected topics of the nsqd `node`. Raises `CollectError`.

    `dead` are topics with a tombstone, which are not read from this node.
    """
    stats = NodeStats()
    try:
        data = answer.get("data", answer)  # NSQ before 1.0 wraps it
        epoch = number_or_none(data, "start_time") or 0
        topics = list(data["topics"] or ())
    except (AttributeError, KeyError, TypeError, RowError):
        raise CollectError(
            "invalid", f"{node}: unexpected response from /stats; is this an nsqd?"
        ) from None

    def read(topic: Any) -> None:
        name = text(topic, "topic_name")
        if name not in dead and selection.topic(name):
            _topic(stats, topic, node, epoch, selection, finished)

    list(stats.rows.each(topics, read, f"a topic of {node}"))
    if topics and stats.rows.nameless == len(topics):
        raise CollectError("invalid", f"{node}: unexpected response from /stats; is this an nsqd?")
    return stats


def _topic(
    stats: NodeStats,
    topic: Mapping[str, Any],
    node: str,
    epoch: int,
    selection: TopicSelection,
    finished: Finished,
) -> None:
    name = text(topic, "topic_name")
    channels = rows_of(topic, "channels")
    stats.destinations.add((None, name, node))
    total = depth = None
    try:
        total, depth = number(topic, "message_count"), number(topic, "depth")
        size = number_or_none(topic, "message_bytes")
        stats.produced.append(Produced(None, name, node, total, size, epoch))
    except RowError as error:
        stats.rows.refuse(f"topic {name!r} of {node}", error)
    if not channels and (total is None or depth is None):
        stats.depths.append(Depth(Place(None, name, None, node), None))
    elif not channels and total is not None and depth is not None:
        place = Place(None, name, None, node)
        paused = bool(topic.get("paused"))
        stats.depths.append(Depth(place, depth, paused=paused))
        stats.counts.append(Counts(place, depth, total, None, None, 0, epoch=epoch))
    kept = depth if topic.get("paused") else 0

    def read(channel: Any) -> None:
        group = text(channel, "channel_name")
        if not selection.channel(group):
            return
        place = Place(None, name, group, node)
        try:
            depth, counts = _channel(channel, place, kept, epoch)
            if name.endswith(EPHEMERAL) or group.endswith(EPHEMERAL):
                counts = finished.corrected(counts, channel)
        except RowError as error:
            stats.rows.refuse(f"channel {group!r} of topic {name!r} of {node}", error)
            stats.depths.append(Depth(place, None))
        else:
            stats.depths.append(depth)
            stats.counts.append(counts)

    list(stats.rows.each(channels, read, f"a channel of topic {name!r} of {node}"))


def _channel(
    channel: Mapping[str, Any], place: Place, kept: int | None, epoch: int
) -> tuple[Depth, Counts]:
    """Return the backlog and the counters of one channel. Raises `RowError`.

    `kept` is the number of messages that wait in the topic while it is paused; None if unreadable.
    """
    if kept is None:
        raise RowError("depth", None, "a number, though the topic is paused")
    flying, deferred = number(channel, "in_flight_count"), number(channel, "deferred_count")
    lag = number(channel, "depth") + flying + kept
    paused = bool(channel.get("paused")) or kept > 0
    counts = Counts(
        place,
        outstanding=lag + deferred,
        enqueued=number(channel, "message_count") + kept,
        processed=None,
        redelivered=number(channel, "requeue_count") + number(channel, "timeout_count"),
        consumers=_clients(channel),
        shared_consumers=True,
        wait=_slowest(channel.get("e2e_processing_latency")),
        epoch=epoch,
    )
    return Depth(place, lag, flying, deferred, paused), counts


def _clients(channel: Mapping[str, Any]) -> int | None:
    count = number_or_none(channel, "client_count")
    if count is not None or channel.get("clients") is None:
        return count
    return len(rows_of(channel, "clients"))


def _slowest(latency: Any) -> float | None:
    """Return the largest of nsqd's percentiles in seconds. A count of 0 means idle, not fast."""
    if not isinstance(latency, dict) or not latency.get("count"):
        return None
    values = [amount(each, "value") for each in rows_of(latency, "percentiles")]
    return max(values) / NANO if values else None


class _ChannelCounts(NamedTuple):
    """The counters of an ephemeral channel in one run."""

    epoch: int
    left: int
    clients: Mapping[tuple[str, int], int]
    finished: int
    dropped: int


class Finished:
    """Finds out how many messages ephemeral channels dropped.

    A full ephemeral channel drops messages silently. nsqd counts what each connected client
    finished. If the same clients were connected in two runs, messages that left the channel between
    them and that no client finished were dropped.
    """

    def __init__(self) -> None:
        self._seen: dict[Place, _ChannelCounts] = {}

    def corrected(self, counts: Counts, channel: Mapping[str, Any]) -> Counts:
        """Return the counts with processed and dropped messages, both since the first run."""
        clients = {
            (text(client, "remote_address"), number(client, "connect_ts")): number(
                client, "finish_count"
            )
            for client in rows_of(channel, "clients")
        }
        left = (counts.enqueued or 0) - counts.outstanding
        before = self._seen.get(counts.place)
        if before is None or before.epoch != counts.epoch:
            now = _ChannelCounts(counts.epoch, left, clients, left, 0)
        else:
            moved = max(left - before.left, 0)
            done = moved
            if before.clients.keys() <= clients.keys():
                done = sum(count - before.clients.get(who, 0) for who, count in clients.items())
                done = min(max(done, 0), moved)
            now = _ChannelCounts(
                counts.epoch,
                left,
                clients,
                before.finished + done,
                before.dropped + moved - done,
            )
        self._seen[counts.place] = now
        return counts._replace(processed=now.finished, dropped=now.dropped)

    def keep(self, places: Iterator[Place]) -> None:
        """Forget all channels but these."""
        kept = set(places)
        self._seen = {place: seen for place, seen in self._seen.items() if place in kept}
