"""Parses the backlog from the Prometheus plugin.

Reading it costs the broker a tenth of what the management API costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from exporter.collectors.rabbitmq.queues import Name, called
from exporter.collectors.reply_rows import A_COUNT, LARGEST, RowError, Rows
from exporter.model import CollectError, Depth

FAMILY = "queue_coarse_metrics"
READY = b"rabbitmq_detailed_queue_messages_ready{"
UNACKED = b"rabbitmq_detailed_queue_messages_unacked{"
MESSAGES = b"rabbitmq_detailed_queue_messages{"


class QueueDepth(NamedTuple):
    """Number of messages in one queue."""

    ready: int
    unacked: int
    messages: int | None
    """All messages; None if the exposition does not have this number."""

    def or_more(self, other: QueueDepth) -> QueueDepth:
        """Return the larger numbers of two expositions. Only one node has the queue."""
        known = [number for number in (self.messages, other.messages) if number is not None]
        return QueueDepth(
            max(self.ready, other.ready),
            max(self.unacked, other.unacked),
            max(known, default=None),
        )

    def on(self, depth: Depth) -> Depth:
        """Return the depth with these numbers.

        As in the list of queues, deferred messages are not lag.
        """
        lag = self.ready + self.unacked
        deferred = None
        if depth.deferred is not None and self.messages is not None:
            deferred = max(self.messages - lag, 0)
        return depth._replace(lag=lag, unacknowledged=self.unacked, deferred=deferred)


def read_detailed(
    url: str, exposition: bytes, known: Mapping[bytes, Name], reader: Rows | None = None
) -> dict[Name, QueueDepth]:
    """Return the backlog of the known queues. Raises `CollectError`.

    The text of the labels is looked up in `known` (made by `texts`) and not parsed, because
    RabbitMQ before 3.11 does not escape quotes in names.
    """
    reader = reader or Rows()
    ready: dict[Name, int] = {}
    unacked: dict[Name, int] = {}
    messages: dict[Name, int] = {}
    seen = False
    for line in exposition.split(b"\n"):
        for head, found in ((READY, ready), (UNACKED, unacked), (MESSAGES, messages)):
            if line.startswith(head):
                seen = True
                labels, _, value = line[len(head) :].rpartition(b"} ")
                name = known.get(labels)
                if name is not None:
                    _add_number(found, name, value, reader)
    if not seen and b"rabbitmq_" not in exposition:
        raise CollectError(
            "invalid",
            f"{url}: the response is not from RabbitMQ's Prometheus plugin; is this the right "
            f"address?",
        )
    return {
        name: QueueDepth(ready[name], unacked[name], messages.get(name))
        for name in ready.keys() & unacked.keys()
    }


def _add_number(found: dict[Name, int], name: Name, value: bytes, reader: Rows) -> None:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    # NaN fails the comparison. A float above 2^53 is not an exact count, but Prometheus can store
    # it.
    if 0 <= number <= LARGEST and number.is_integer():
        found[name] = int(number)
    else:
        reader.refuse(called(name), RowError("value", value.decode(errors="replace"), A_COUNT))


def texts(names: Iterable[Name]) -> dict[bytes, Name]:
    """Return the texts of labels that each queue may have in the exposition."""
    found: dict[bytes, Name] = {}
    for name in names:
        vhost, queue = name
        found[_label(vhost, queue)] = name
        found[_label(_escaped(vhost), _escaped(queue))] = name
    return found


def _label(vhost: str, queue: str) -> bytes:
    return f'vhost="{vhost}",queue="{queue}"'.encode("utf-8", "surrogatepass")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
