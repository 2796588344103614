"""Turns the stream plugin's data about consumers of streams into observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from exporter.collectors.rabbitmq.queues import Name, called
from exporter.collectors.rabbitmq.stream_log import StreamLog, Tail
from exporter.collectors.reply_rows import (
    LARGEST,
    RowError,
    Rows,
    number,
    number_or_none,
    signed_number,
)
from exporter.model import Counts, Depth, Place, Produced, StreamOffsets

FIXED = ("first", "last", "next")
"""Values in place of an offset for a consumer that has just started (RabbitMQ 4)."""
CREDITS_OF_TWO_CHUNKS = 2


@dataclass
class Streams:
    """The observations of all streams in one run."""

    depths: list[Depth] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    offsets: list[StreamOffsets] = field(default_factory=list)
    produced: list[Produced] = field(default_factory=list)


class StreamLabels(NamedTuple):
    """How a stream is shown: as a destination, or as a partition of a super stream."""

    destination: str
    partition: str | None


class StreamConsumer(NamedTuple):
    """The plugin's statistics of a consumer that receives messages."""

    group: str | None
    connection: str | None
    offset: int | None = None
    """Offset of the chunk that was sent to it last; None if unknown."""
    lag: int = 0
    consumed: int | None = None
    """Number of messages that were sent to it."""
    credits: int | None = None
    """Number of chunks that it would accept now."""
    is_single: bool = False
    """Whether it is a single active consumer."""
    is_sent_at_once: bool = False
    """Whether RabbitMQ sends as long as there is any credit. Newer versions wait for half of the
    initial credit.
    """

    @property
    def end(self) -> int | None:
        """The stream's end according to this consumer."""
        if self.offset is None or self.consumed == 0:
            return None
        return self.offset + max(self.lag, 0) + 1

    def was_sent_all(self, stored: int | None) -> bool:
        """Return whether nothing is left to send to it.

        Its lag does not show that, because it counts stored offsets.
        """
        if self.offset is None:
            return False
        if self.lag <= 0:
            return True
        if not self.credits:
            return False
        if self.is_sent_at_once:
            return True
        # It has processed a message of the last chunk, so all chunks before it, and their credit is
        # back.
        has_processed = stored is not None and stored >= self.offset
        return has_processed and self.credits >= CREDITS_OF_TWO_CHUNKS


def read_consumers(
    rows: Iterable[Mapping[str, Any]], names: Iterable[Name], reader: Rows
) -> dict[Name, list[StreamConsumer]]:
    """Return the consumers of the streams `names` that receive messages.

    Waiting consumers of a single active consumer group are left out, because they receive nothing.
    """
    found: dict[Name, list[StreamConsumer]] = {name: [] for name in names}
    for row in rows:
        queue = row.get("queue")
        if not isinstance(queue, dict) or row.get("active") is False:
            continue
        name = (str(queue.get("vhost")), str(queue.get("name")))
        if name not in found or row.get("offset") is None or row.get("offset_lag") is None:
            continue
        try:
            found[name].append(_consumer(row))
        except RowError as error:
            reader.refuse(f"a consumer of {called(name)}", error)
            found[name].append(_unread(row))
    return found


def _consumer(row: Mapping[str, Any]) -> StreamConsumer:
    begins = isinstance(row["offset"], str) and row["offset"] in FIXED
    offset = None if begins else number(row, "offset")
    lag = 0 if begins else signed_number(row, "offset_lag")
    if offset is not None and offset + lag >= LARGEST:
        raise RowError("offset_lag", lag, "within the largest offset")
    return _unread(row)._replace(
        offset=offset,
        lag=lag,
        consumed=number_or_none(row, "consumed"),
        credits=number_or_none(row, "credits"),
        is_single=row.get("activity_status") == "single_active",
        is_sent_at_once="consumed" in row and "active" not in row,
    )


def _unread(row: Mapping[str, Any]) -> StreamConsumer:
    """Return a consumer without its numbers."""
    connection, properties = row.get("connection_details"), row.get("properties")
    named = properties.get("name") if isinstance(properties, dict) else None
    by = connection.get("name") if isinstance(connection, dict) else None
    return StreamConsumer(
        group=str(named) if named else None, connection=None if by is None else str(by)
    )


def tail_of(consumers: Iterable[StreamConsumer], log: StreamLog) -> Tail | None:
    """Return a consumer that was sent all messages; None if that is certain of none."""
    tails = [
        Tail(each.offset, each.end, each.lag <= 0)
        for each in consumers
        if each.offset is not None
        and each.end is not None
        and (
            each.was_sent_all(log.stored.get(each.group or ""))
            or log.is_last(each.offset, each.end)
        )
    ]
    return max(tails, default=None)


class Report:
    """Collects the observations of one run, stream by stream."""

    def __init__(self) -> None:
        self.streams = Streams()
        self._counted_in: dict[tuple[str, str, str | None, str], str | None] = {}

    def add(
        self,
        name: Name,
        part: StreamLabels,
        consumers: Sequence[StreamConsumer],
        log: StreamLog,
        tail: Tail | None,
    ) -> None:
        """Add one stream.

        Consumers of a stream with the same name are one group, and so are those without a name,
        because their connections come and go and make no useful label. The consumer with the
        largest lag stands for the group, because each reads the whole stream. Positions are what
        was sent to a consumer, since RabbitMQ knows no more. If no consumer is connected, they are
        the stored offset.
        """
        groups: dict[str | None, list[StreamConsumer]] = {group: [] for group in log.stored}
        for each in consumers:
            groups.setdefault(each.group, []).append(each)
        for group, members in groups.items():
            self._group(Place(name[0], part.destination, group, part.partition), members, log, tail)
        if log.end is not None:
            self.streams.produced.append(
                Produced(name[0], *part, log.produced, None, log.epoch),
            )

    def _group(
        self, place: Place, members: Sequence[StreamConsumer], log: StreamLog, tail: Tail | None
    ) -> None:
        lags = [_lag(each, log, tail) for each in members]
        known = [lag for lag in lags if lag is not None]
        stored = None
        if place.group is not None and log.is_stored_known:
            stored = log.waiting(place.group)
        if not known and not log.is_stored_known and not members:
            self.streams.depths.append(Depth(place, None))  # it may or may not still exist
            return
        lag = max(known) if known else stored
        self.streams.depths.append(Depth(place, lag))
        if lag is None or log.end is None:
            return
        lag = min(lag, log.end)
        restart = lag if stored is None else max(stored, lag)
        self.streams.counts.append(
            Counts(
                place,
                lag,
                log.produced,
                None,
                None,
                self._consumers(place, members),
                epoch=log.epoch,
                replay=restart - lag,
            )
        )
        self.streams.offsets.append(
            StreamOffsets(
                place, log.end - lag, log.end, is_upper_bound=lag > 0 and bool(log.stored)
            )
        )

    def _consumers(self, place: Place, members: Sequence[StreamConsumer]) -> int:
        """Count consumers; one that reads several partitions over one connection counts once."""
        vhost, destination, group, partition = place
        count = 0
        for each in members:
            if each.connection is None or partition is None:
                count += 1
                continue
            key = (vhost or "", destination, group, each.connection)
            count += self._counted_in.setdefault(key, partition) == partition
        return count


def _lag(consumer: StreamConsumer, log: StreamLog, tail: Tail | None) -> int | None:
    """Return how many messages were not sent to a consumer; None if unknown."""
    if consumer.offset is None:
        return None
    if consumer.consumed == 0:
        # If it has credit and nothing was sent, there is nothing to send, wherever it began. A
        # single active consumer may not have chosen its first offset yet.
        return 0 if consumer.credits and not consumer.is_single else None
    stored = log.stored.get(consumer.group or "")
    has_last = tail is not None and consumer.offset >= tail.offset
    if has_last or consumer.was_sent_all(stored):
        return 0
    is_stored_after = stored is not None and stored >= consumer.offset
    return max(consumer.lag - is_stored_after, 0)
