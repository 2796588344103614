"""The time at which a record was enqueued: its own timestamp, or a header set by its producer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import methodcaller
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from exporter.model import TimestampAnomaly

LATEST = 32_503_680_000.0
"""The year 3000 in Unix time; a larger number is in a smaller unit than seconds."""
EARLIEST = 1.0
PLAUSIBLE = 946_684_800.0
"""The year 2000 in Unix time. An earlier timestamp is in the wrong unit or was never set."""
LONG = 8
"""Bytes of a number written by Kafka's LongSerializer."""


_ask_for_headers = methodcaller("headers")
"""A call through `methodcaller`, because a normal method call would crash (Python 3.11 and later).

The interpreter specializes a method call that runs often. Then it no longer checks whether the
library returned a result together with an exception.
"""


class RecordTime(NamedTuple):
    """Unix time in seconds, None if the record has none, and the anomaly if there is one."""

    seconds: float | None
    anomaly: TimestampAnomaly | None = None
    stamped: bool = False
    """Whether the broker set the timestamp when it appended the record."""


def is_plausible(seconds: float) -> bool:
    """Return whether the time is between the years 2000 and 3000.

    It is not if a producer wrote seconds, microseconds or nanoseconds instead of milliseconds.
    """
    return PLAUSIBLE <= seconds < LATEST


def record_time(message: Message, header: str | None) -> RecordTime:
    """Return when the record was enqueued.

    If the header is missing or unreadable, that is an anomaly, and the record's own timestamp is
    used. An implausible timestamp counts as unreadable.
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
    """Return the Unix time in seconds of a header's value; None if it is not a time.

    Accepted are decimal text in seconds, milliseconds, microseconds or nanoseconds (the size of the
    number decides), the same as a big-endian number of eight bytes, and ISO 8601 (UTC if it has no
    offset). A time before 1970 means "not set" and gives None.
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
    """Return the total bytes of key, value and headers. Unreadable headers are left out."""
    headers = sum(len(name) + len(value or b"") for name, value in _headers(message) or ())
    return len(message.key() or b"") + len(message.value() or b"") + headers


def _headers(message: Message) -> Iterable[tuple[str, bytes | str | None]] | None:
    """Return the record's headers; None on the first call if a header name is not UTF-8.

    In that case the library raises. If asked again, it would return a list with null pointers,
    which crashes the process; so the headers are cleared.
    """
    try:
        found = _ask_for_headers(message)
    except (SystemError, UnicodeError):
        message.set_headers([])
        return None
    return found.items() if isinstance(found, dict) else found or ()


def _header(headers: Iterable[tuple[str, bytes | str | None]], name: str) -> bytes | None:
    """Return the last value with this name: the latest hop wins."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found.encode() if isinstance(found, str) else found


def _text(value: bytes) -> str | None:
    """Return the value as text; None if it is not printable UTF-8."""
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
