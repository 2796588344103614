"""Turns the management API's data about queues into observations."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.reply_rows import RowError, Rows, number, number_or_none, text
from exporter.model import Counts, Depth, Place

TOTALS = {
    "disable_stats": "true",
    "enable_queue_totals": "true",
    "columns": "name,vhost,type,state,exclusive,auto_delete,owner_pid_details,"
    "messages,messages_ready,messages_unacknowledged",
}
"""Parameters for the backlog without statistics; the cheapest complete list of the broker."""
NAMES = {
    "disable_stats": "true",
    "columns": "name,vhost,type,state,exclusive,auto_delete,owner_pid_details",
}
"""Parameters for all queues. Since RabbitMQ 4 the list with totals lacks queues of dead nodes."""
COLUMNS = ",".join(
    (
        *("name", "vhost", "type", "exclusive", "auto_delete", "owner_pid_details"),
        *("messages", "consumers", "head_message_timestamp", "single_active_consumer_tag"),
        *("message_bytes", "messages_persistent", "message_bytes_persistent"),
        *("messages_ram", "message_bytes_ram", "messages_paged_out", "message_bytes_paged_out"),
        *(
            f"message_stats.{name}"
            for name in (
                "publish",
                "ack",
                "deliver_no_ack",
                "get_no_ack",
                "deliver_get",
                "redeliver",
            )
        ),
    )
)
"""Columns for rates, ages and sizes. From 3.13 on the list has them only if they are requested by
name.
"""
QUORUM_OLD = 2.5
"""Average age of a quorum queue's totals in seconds: RabbitMQ takes them every 5 s."""
COUNTED_TYPES = ("classic", "quorum", None)
"""Types of queues that always have a number of messages while they run; streams may lack it."""
DISJOINT = (("persistent",), ("ram",), ("ram", "paged_out"), ("persistent", "paged_out"))
"""Parts of a queue that have no message in common: only transient messages are paged out."""
Name = tuple[str, str]
"""vhost and queue."""


class ListedQueue(NamedTuple):
    """A queue in the list of queues."""

    name: Name
    stream: bool
    depth: Depth
    unread: bool = False
    """Whether its row could not be read."""


class QueueSelection:
    """The filters of one source; decides once per name. Safe to use from any thread."""

    def __init__(self, settings: RabbitSettings) -> None:
        self._settings = settings
        self._vhosts: dict[str, bool] = {}
        self._queues: dict[Name, bool] = {}
        self._destinations: Mapping[Name, str] = {}
        self._lock = threading.Lock()

    def vhost(self, name: str) -> bool:
        """Return whether the vhost is shown."""
        found = self._vhosts.get(name)
        if found is None:
            found = self._vhosts[name] = self._settings.vhosts.allows(name)
        return found

    def queue(self, row: Mapping[str, Any]) -> bool:
        """Return whether the queue is shown."""
        name = name_of(row)
        with self._lock:
            found = self._queues.get(name)
            if found is None:
                found = self._queues[name] = self._wants(row, *name)
        return found

    def keep(self, names: set[Name]) -> None:
        """Forget all other queues: one may be created again with another type."""
        with self._lock:
            for name in [name for name in self._queues if name not in names]:
                del self._queues[name]

    def rename(self, destinations: Mapping[Name, str]) -> None:
        """From now on, filter these queues by the names of the destinations that they belong to."""
        with self._lock:
            self._destinations = destinations
            self._queues.clear()

    def _wants(self, row: Mapping[str, Any], vhost: str, queue: str) -> bool:
        settings = self._settings
        internal = (
            bool(row.get("exclusive"))
            or bool(row.get("auto_delete"))
            or bool(row.get("owner_pid_details"))
            or queue.startswith(("amq.", f"{settings.probe_queue}."))
        )
        destination = self._destinations.get((vhost, queue), queue)
        wanted = self.vhost(vhost) and settings.destinations.allows(destination)
        return wanted and (settings.internals or not internal)


def name_of(row: Mapping[str, Any]) -> Name:
    """Return the name of the queue in a row. Raises `RowError`."""
    return text(row, "vhost"), text(row, "name")


def stream_of(row: Mapping[str, Any]) -> Name | None:
    """Return the name of the stream in a row; None if it is another queue. Raises `RowError`."""
    return name_of(row) if row.get("type") == "stream" else None


def listed(
    rows: Iterable[Mapping[str, Any]], selection: QueueSelection, reader: Rows | None = None
) -> list[ListedQueue]:
    """Return the selected queues of a list with totals.

    The depth is None if the queue is down, if its node does not respond for it, or if its row
    cannot be read. `reader` counts rows that cannot be read.
    """
    reader = reader or Rows()

    def queue(row: Mapping[str, Any]) -> ListedQueue | None:
        if not selection.queue(row):
            return None
        name, before = name_of(row), reader.unreadable
        depth = _depth(row, name, reader)
        return ListedQueue(name, row.get("type") == "stream", depth, reader.unreadable > before)

    return list(reader.each(rows, queue, "a row of the list of queues"))


def left_out(every: Iterable[Mapping[str, Any]], known: Container[Name]) -> list[Mapping[str, Any]]:
    """Return the rows of queues that are not `known`, marked as down with their node."""

    def missing(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if name_of(row) in known:
            return None
        return {**row, "messages": None, "state": "down"}

    return list(Rows().each(every, missing))


def _depth(row: Mapping[str, Any], name: Name, reader: Rows) -> Depth:
    lost = row.get("state") in ("down", "crashed", "stopped", "minority")
    try:
        read = number_or_none if lost or row.get("type") not in COUNTED_TYPES else number
        messages = read(row, "messages")
        ready = number_or_none(row, "messages_ready")
        unacked = number_or_none(row, "messages_unacknowledged")
    except RowError as error:
        reader.refuse(called(name), error)
        return Depth(place_of(name), None)
    old = QUORUM_OLD if row.get("type") == "quorum" else 0.0
    lag, deferred = split(messages, ready, unacked)
    if row.get("type") == "classic":
        deferred = None  # classic queues do not defer messages
    return Depth(place_of(name), None if lost else lag, unacked, deferred, old=old)


def split(
    messages: int | None, ready: int | None, unacked: int | None
) -> tuple[int | None, int | None]:
    """Return how many of a queue's messages are lag, and how many are deferred; None if unknown.

    The messages of a quorum queue include those that it keeps back until their next delivery
    attempt (RabbitMQ 4.3), and those that its dead-letter target has not confirmed yet. They are
    neither ready nor unacknowledged.
    """
    if messages is None or ready is None or unacked is None:
        return messages, None
    deferred = max(messages - ready - unacked, 0)
    return messages - deferred, deferred


def called(name: Name) -> str:
    """Return a queue's name for messages."""
    return f"queue {name[1]!r} in vhost {name[0]!r}"


def place_of(name: Name, group: str | None = None) -> Place:
    """Return the place of a queue's messages."""
    return Place(name[0], name[1], group, None)


def counts_of(row: Mapping[str, Any], now: float, *, every_protocol: bool = True) -> Counts | None:
    """Return the counts of a queue; None without counts, and for a stream. `now` is Unix time.

    `every_protocol` says whether the broker counts the messages of all clients. Raises `RowError`.
    """
    messages = number_or_none(row, "messages")
    if messages is None or row.get("type") == "stream":
        return None
    stats = row.get("message_stats")
    counted = stats if isinstance(stats, dict) else {}
    head = _timestamp(row)
    processed = sum(
        number_or_none(counted, key) or 0 for key in ("ack", "deliver_no_ack", "get_no_ack")
    )
    return Counts(
        place_of(name_of(row)),
        outstanding=messages,
        enqueued=number_or_none(counted, "publish") or 0,
        processed=processed,
        redelivered=number_or_none(counted, "redeliver") or 0,
        consumers=number_or_none(row, "consumers"),
        head_age=max(now - head, 0.0) if head else None,
        deliveries=number_or_none(counted, "deliver_get") or 0,
        single_consumer=bool(row.get("single_active_consumer_tag")),
        every_protocol=every_protocol,
    )


def _timestamp(row: Mapping[str, Any]) -> int | None:
    """Return the timestamp of the message at the head.

    RabbitMQ returns an empty text if there is none.
    """
    if row.get("head_message_timestamp") in ("", None):
        return None
    return number(row, "head_message_timestamp")


def mean_size(row: Mapping[str, Any]) -> float | None:
    """Return the mean size of the messages that wait, in bytes; None if none wait or it is unknown.

    `messages` is not of the same moment as the bytes: RabbitMQ samples them separately, each every
    few seconds. The numbers used here are of one moment. If parts of the queue have all its bytes,
    they have all its messages. Raises `RowError`.
    """
    size = number_or_none(row, "message_bytes")
    if size is None or row.get("type") == "stream":
        return None
    for parts in DISJOINT:
        counts = [number_or_none(row, f"messages_{part}") for part in parts]
        sizes = [number_or_none(row, f"message_bytes_{part}") for part in parts]
        if None in counts or None in sizes:
            continue
        count = sum(filter(None, counts))
        if count and sum(filter(None, sizes)) == size:
            return round(size / count, 1)
    return None
