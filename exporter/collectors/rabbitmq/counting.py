"""Which messages a RabbitMQ cluster counts, and which queues it does not count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from exporter.collectors.rabbitmq.queues import Name, name_of
from exporter.collectors.reply_rows import Rows, number, number_or_none

OVERVIEW = "rabbitmq_version,rates_mode,listeners"
"""Columns of the overview that determine what is counted."""
NATIVE_MQTT, NATIVE_AMQP = (3, 12), (4, 0)
"""Versions from which these protocols bypass channels. Only messages in channels are counted."""
RATES_OFF = (
    "management.rates_mode is none, so RabbitMQ does not count messages; set it to basic in "
    "rabbitmq.conf"
)
SHOWN = 3


class Counting(NamedTuple):
    """What a cluster counts."""

    every_protocol: bool = True
    """Whether messages of every protocol that a client can use are counted."""
    rates_mode: str = ""


def counting_of(overview: Any) -> Counting:
    """Return what the cluster counts.

    If the overview is unreadable, assume that not everything is counted.
    """
    if not isinstance(overview, dict):
        return Counting(every_protocol=False)
    mode = str(overview.get("rates_mode", ""))
    version = _version(overview.get("rabbitmq_version"))
    listeners = overview.get("listeners")
    protocols = {
        str(each.get("protocol"))
        for each in (listeners if isinstance(listeners, list) else ())
        if isinstance(each, dict)
    }
    has_mqtt = any("mqtt" in protocol for protocol in protocols)
    bypassed = version >= NATIVE_AMQP or (version >= NATIVE_MQTT and has_mqtt)
    return Counting(every_protocol=not bypassed and mode != "none", rates_mode=mode)


def _version(text: Any) -> tuple[int, ...]:
    found = re.match(r"(\d{1,4})\.(\d{1,4})", text) if isinstance(text, str) else None
    return tuple(map(int, found.groups())) if found else NATIVE_AMQP


def uncounted(rows: Iterable[Mapping[str, Any]]) -> list[Name]:
    """Return the queues whose consumers are not counted.

    Messages wait in them. Either nothing is counted, or some left without a counted delivery.
    """

    def name(row: Mapping[str, Any]) -> Name | None:
        if row.get("type") == "stream" or not row.get("consumers") or not row.get("messages"):
            return None
        stats = row.get("message_stats")
        if isinstance(stats, dict) and stats:
            published = number_or_none(stats, "publish") or 0
            if stats.get("deliver_get") or published <= number(row, "messages"):
                return None
        return name_of(row)

    return list(Rows().each(rows, name))


def never_counted(rows: Iterable[Mapping[str, Any]]) -> list[Name]:
    """Return the empty queues with consumers but without counts.

    Either no message was published yet, or none is counted.
    """

    def name(row: Mapping[str, Any]) -> Name | None:
        is_used = row.get("consumers") and not row.get("messages")
        if not is_used or row.get("type") == "stream" or row.get("message_stats"):
            return None
        return name_of(row)

    return list(Rows().each(rows, name))


def listed_names(names: Sequence[Name]) -> str:
    """Return the first names as text for a message."""
    shown = ", ".join(f"{queue!r} (vhost {vhost!r})" for vhost, queue in names[:SHOWN])
    return f"{shown}, \u2026" if len(names) > SHOWN else shown
