"""Which queues of a RabbitMQ cluster have consumers, and which have not been used for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from exporter.collectors.rabbitmq.queues import name_of
from exporter.collectors.reply_rows import Rows, number_or_none
from exporter.model import Stillness, Survey, Surveyed

COLUMNS = (
    "name,vhost,type,exclusive,auto_delete,owner_pid_details,messages,consumers,"
    "head_message_timestamp,idle_since"
)
"""`idle_since` is when the queue was last used; only classic queues have it.

A list with totals, as `backlog` reads it, counts as a use. So it may be too late, never too early.
"""


def survey_of(
    rows: Sequence[Mapping[str, Any]],
    wanted: Callable[[Mapping[str, Any]], bool],
    destination: Callable[[tuple[str, str]], str],
    seconds: float,
) -> Survey:
    """Return the names, and which of the `wanted` queues have not moved for `seconds`.

    `destination` maps a stream to the super stream that it belongs to.
    """
    reader, since = Rows(), time.time() - seconds

    def queue(row: Mapping[str, Any]) -> Surveyed | None:
        if not wanted(row):
            return None
        name = name_of(row)
        consumers = number_or_none(row, "consumers")
        return Surveyed(name[0], destination(name), None, consumers, _stillness(row, since))

    found = list(reader.each(rows, queue, "a row of the list of queues"))
    names = frozenset((each.vhost, each.destination) for each in found)
    return Survey(names, frozenset(), found, reader.problems())


def _stillness(row: Mapping[str, Any], since: float) -> Stillness:
    idle = _moment(row.get("idle_since"))
    if idle is not None and idle < since:
        return "still"
    messages = number_or_none(row, "messages")
    if row.get("type") == "stream" or messages is None:
        return "unknown"
    if not messages:
        return "drained"
    head = row.get("head_message_timestamp")
    return "still" if isinstance(head, int) and 0 < head < since else "unknown"


def _moment(given: Any) -> float | None:
    """Return a time of the management API in Unix time; None if it is none."""
    if not isinstance(given, str):
        return None
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
