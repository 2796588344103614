"""What waits, from the Prometheus plugin of every node: a tenth of what the management API costs the broker."""

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
    """What one queue holds."""

    ready: int
    unacked: int
    messages: int | None
    """All of them; None where the page does not say."""

    def or_more(self, other: QueueDepth) -> QueueDepth:
        """Return the larger numbers of two pages: only one node has the queue."""
        known = [number for number in (self.messages, other.messages) if number is not None]
        return QueueDepth(
            max(self.ready, other.ready),
            max(self.unacked, other.unacked),
            max(known, default=None),
        )

    def on(self, depth: Depth) -> Depth:
        """Return the depth with these numbers; as in the list of queues, what is deferred is no lag."""
        lag = self.ready + self.unacked
        deferred = None
        if depth.deferred is not None and self.messages is not None:
            deferred = max(self.messages - lag, 0)
        return depth._replace(lag=lag, unacknowledged=self.unacked, deferred=deferred)


def read_detailed(
    url: str, page: bytes, known: Mapping[bytes, Name], reader: Rows | None = None
) -> dict[Name, QueueDepth]:
    """Return what waits by queue, of those that are known. Raises `CollectError`.

    A label's text is looked up in `known` (`texts`) instead of being parsed: RabbitMQ before 3.11 writes quotes in names as
    they are.
    """
    reader = reader or Rows()
    ready: dict[Name, int] = {}
    unacked: dict[Name, int] = {}
    messages: dict[Name, int] = {}
    seen = False
    for line in page.split(b"\n"):
        for head, found in ((READY, ready), (UNACKED, unacked), (MESSAGES, messages)):
            if line.startswith(head):
                seen = True
                labels, _, value = line[len(head) :].rpartition(b"} ")
                name = known.get(labels)
                if name is not None:
                    _take(found, name, value, reader)
    if not seen and b"rabbitmq_" not in page:
        raise CollectError(
            "invalid",
            f"{url}: the response is not from RabbitMQ's Prometheus plugin; is this the right address?",
        )
    return {
        name: QueueDepth(ready[name], unacked[name], messages.get(name))
        for name in ready.keys() & unacked.keys()
    }


def _take(found: dict[Name, int], name: Name, value: bytes, reader: Rows) -> None:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    # NaN compares as false; a float above 2^53 is no exact count, but one that Prometheus can keep.
    if 0 <= number <= LARGEST and number.is_integer():
        found[name] = int(number)
    else:
        reader.refuse(called(name), RowError("value", value.decode(errors="replace"), A_COUNT))


def texts(names: Iterable[Name]) -> dict[bytes, Name]:
    """Return the texts of the labels that a queue may have on the page."""
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
