"""When a record was enqueued, by its own timestamp or by a header that its producer wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import methodcaller
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from exporter.model import TimestampAnomaly

LATEST = 32_503_680_000.0
"""The year 3000 in Unix time; a larger number counts smaller units than seconds."""
EARLIEST = 1.0
PLAUSIBLE = 946_684_800.0
"""The year 2000 in Unix time: an earlier timestamp is one in another unit than its reader takes it for, or none at all."""
LONG = 8
"""Bytes of a number as Kafka's LongSerializer writes it."""


_ask_for_headers = methodcaller("headers")
"""A plain call of the method would be specialized once it has run often (Python 3.11 and later).

The interpreter then no longer checks that the library has not returned a result together with an exception.
"""


class RecordTime(NamedTuple):
    """Unix time in seconds, None where the record has none, and what is wrong with it."""

    seconds: float | None
    anomaly: TimestampAnomaly | None = None
    stamped: bool = False
    """Whether the broker gave it when it appended the record."""


def is_plausible(seconds: float) -> bool:
    """Whether a message can have been enqueued then: between the years 2000 and 3000.

    A producer that writes seconds, micro- or nanoseconds where Kafka takes milliseconds is outside.
    """
    return PLAUSIBLE <= seconds < LATEST


def record_time(message: Message, header: str | None) -> RecordTime:
    """Return when the record was enqueued.

    A header that is missing or can't be read is an anomaly, and the record's own timestamp stands in for it. A
    timestamp that is not plausible is unreadable.
    """
    own = _own_time(message)
    if header is None:
        return own
    headers = _headers(message)
    if headers is None:
        return own._replace(anomaly="unreadable")
    value = _header(headers, header)
    if value is None:
        return own._replace(anomaly="missing")
    found = parse_time(value)
    if found is None or not is_plausible(found):
        return own._replace(anomaly="unreadable")
    return RecordTime(found)


def _own_time(message: Message) -> RecordTime:
    kind, milliseconds = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0:
        return RecordTime(None, "missing")
    if not is_plausible(milliseconds / 1000):
        return RecordTime(None, "unreadable")
    return RecordTime(milliseconds / 1000, stamped=kind == TIMESTAMP_LOG_APPEND_TIME)


def parse_time(value: bytes) -> float | None:
    """Return the Unix time in seconds that a header's value means, None where it means none.

    Decimal text in seconds or milliseconds (smaller units too, told by their size), eight bytes of a big-endian number
    of the same, or ISO 8601, which without an offset is UTC. A time before 1970 is none: it stands for one not set.
    """
    text = _text(value)
    if text is None:
        return _in_seconds(int.from_bytes(value, signed=True)) if len(value) == LONG else None
    number = _decimal(text)
    if number is not None:
        return _in_seconds(number)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = moment.timestamp()
    return seconds if EARLIEST <= seconds < LATEST else None


def size(message: Message) -> int:
    """Return the bytes of key, value and headers, as far as these can be read."""
    headers = sum(len(name) + len(value or b"") for name, value in _headers(message) or ())
    return len(message.key() or b"") + len(message.value() or b"") + headers


def _headers(message: Message) -> Iterable[tuple[str, bytes | str | None]] | None:
    """Return the record's headers; None, once, where the name of one is no UTF-8.

    The library raises then, and hands out a list with holes, which ends the process, when it is asked again.
    """
    try:
        found = _ask_for_headers(message)
    except (SystemError, UnicodeError):
        message.set_headers([])
        return None
    return found.items() if isinstance(found, dict) else found or ()


def _header(headers: Iterable[tuple[str, bytes | str | None]], name: str) -> bytes | None:
    """Return the last value under the name: a later hop's word counts."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found.encode() if isinstance(found, str) else found


def _text(value: bytes) -> str | None:
    """Return the value as text; None where it can't be read as such."""
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _decimal(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _in_seconds(number: float) -> float | None:
    for unit in (1.0, 1e3, 1e6, 1e9):
        seconds = number / unit
        if seconds < LATEST:
            return seconds if seconds >= EARLIEST else None
    return None
