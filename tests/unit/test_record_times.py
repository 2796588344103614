"""The time at which a record was enqueued, in every format that producers use."""

from __future__ import annotations

import struct

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    Message,
)
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors.kafka.ages.record_times import RecordTime, parse_time, record_time, size
from exporter.model import TimestampAnomaly

TIME = 1_700_000_000.123
OWN = (TIMESTAMP_CREATE_TIME, 1_600_000_000_000)
Headers = list[tuple[str, str | bytes | None]]


def long(number: int) -> bytes:
    """As Kafka's LongSerializer writes it."""
    return struct.pack(">q", number)


def message(headers: Headers | None = None, timestamp: tuple[int, int] = OWN) -> Message:
    return Message(topic="t", key=b"key", value=b"value", headers=headers, timestamp=timestamp)


# The record


def test_the_records_own_timestamp_counts_if_no_header_is_configured() -> None:
    assert record_time(message([("time", b"1")]), None) == RecordTime(1_600_000_000.0)


@pytest.mark.parametrize("timestamp", [(TIMESTAMP_NOT_AVAILABLE, 0), (TIMESTAMP_CREATE_TIME, -1)])
def test_a_record_without_a_timestamp_has_the_anomaly_missing(timestamp: tuple[int, int]) -> None:
    assert record_time(message(timestamp=timestamp), None) == RecordTime(None, "missing")
    assert record_time(message(timestamp=timestamp), "time") == RecordTime(None, "missing")
    found = record_time(message([("time", b"1700000000")], timestamp), "time")
    assert found == RecordTime(1_700_000_000.0)


@pytest.mark.parametrize(
    ("headers", "anomaly"),
    [
        (None, "missing"),
        ([], "missing"),
        ([("Time", b"1700000000")], "missing"),
        ([("time", None)], "missing"),
        ([("time", b"1700000000"), ("time", None)], "missing"),
        ([("time", b"")], "unreadable"),
        ([("time", b"soon")], "unreadable"),
        ([("time", b"1700000000"), ("time", b"soon")], "unreadable"),
    ],
)
def test_the_records_own_timestamp_replaces_a_missing_header(
    headers: Headers | None, anomaly: TimestampAnomaly
) -> None:
    assert record_time(message(headers), "time") == RecordTime(1_600_000_000.0, anomaly)


def test_a_record_tells_who_stamped_it() -> None:
    stamped = message(timestamp=(TIMESTAMP_LOG_APPEND_TIME, 1_600_000_000_000))
    assert record_time(stamped, None) == RecordTime(1_600_000_000.0, stamped=True)


@pytest.mark.parametrize(
    "milliseconds",
    [
        0,
        1_700_000_000,  # seconds
        1_700_000_000_000_000,  # microseconds
        1_700_000_000_000_000_000,  # nanoseconds
        946_684_799_999,
        32_503_680_000_000,
    ],
)
def test_a_timestamp_in_another_unit_is_unreadable(milliseconds: int) -> None:
    odd = (TIMESTAMP_CREATE_TIME, milliseconds)
    assert record_time(message(timestamp=odd), None) == RecordTime(None, "unreadable")
    found = record_time(message([("time", b"1700000000")], odd), "time")
    assert found == RecordTime(1_700_000_000.0)
    found = record_time(message([("time", b"soon")], odd), "time")
    assert found == RecordTime(None, "unreadable")


@pytest.mark.parametrize("milliseconds", [946_684_800_000, 32_503_679_999_999])
def test_a_timestamp_from_2000_to_2999_is_used_unchanged(milliseconds: int) -> None:
    found = record_time(message(timestamp=(TIMESTAMP_CREATE_TIME, milliseconds)), None)
    assert found == RecordTime(milliseconds / 1000)


@pytest.mark.parametrize("value", [b"1", b"20261101", b"1999-12-31T23:59:59Z"])
def test_a_header_with_a_time_before_2000_is_unreadable(value: bytes) -> None:
    found = record_time(message([("time", value)]), "time")
    assert found == RecordTime(1_600_000_000.0, "unreadable")


def test_the_last_header_of_the_name_counts() -> None:
    """A later hop adds another header."""
    headers: Headers = [("time", b"soon"), ("other", b"5"), ("time", b"1700000000.123"), ("z", b"")]
    assert record_time(message(headers), "time") == RecordTime(TIME)


def test_the_size_is_that_of_key_value_and_headers() -> None:
    assert size(message([("time", b"1234"), ("none", None)])) == 3 + 5 + 8 + 4
    assert size(Message(topic="t")) == 0


# A header's value


@pytest.mark.parametrize(
    "value",
    [
        b"1700000000.123",
        b"1700000000123",
        b"1700000000123.0",
        b"1700000000123000",
        b"1700000000123000000",
        b"1.700000000123e9",
        b" 1700000000123\n",
        b"+1700000000123",
        long(1_700_000_000_123),
        long(1_700_000_000_123_000),
        long(1_700_000_000_123_000_000),
        b"2023-11-14T22:13:20.123Z",
        b"2023-11-14T22:13:20.123+00:00",
        b"2023-11-14T23:13:20.123+01:00",
        b"2023-11-14T16:43:20.123-0530",
        b"2023-11-14T22:13:20.123",
        b"2023-11-14 22:13:20.123",
        b"20231114T221320.123Z",
        b"2023-11-14T22:13:20.123000Z",
        b"2023-11-14T22:13:20.123000999Z",
    ],
)
def test_formats_of_one_time(value: bytes) -> None:
    assert parse_time(value) == pytest.approx(TIME, abs=0.001)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1700000000", 1_700_000_000.0),
        (long(1_700_000_000), 1_700_000_000.0),
        (b"2023-11-14", 1_699_920_000.0),
        (b"1", 1.0),
        (b"32503679999", 32_503_679_999.0),
        (b"32503680000", 32_503_680.0),
    ],
)
def test_whole_seconds_and_the_ends_of_each_unit(value: bytes, seconds: float) -> None:
    assert parse_time(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"yesterday",
        b"rubbish!",
        b"12:34:56",
        b"Infinity",
        b"0",
        b"0.5",
        b"-1",
        b"-1700000000123",
        b"NaN",
        b"nan",
        b"inf",
        b"-inf",
        b"1e400",
        b"1e40",
        b"0x18bcfe5687b",
        b"2023-13-45T00:00:00Z",
        b"0001-01-01T00:00:00Z",
        b"1969-12-31T23:59:59Z",
        b"9999-12-31T23:59:59.999Z",
        "１７００年".encode(),
        b"\xff\xfe",
        b"\x00" * 8,
        b"\x00" * 4,
        b"\xff" * 8,
        long(-1_700_000_000_123),
        long(-(2**63)),
        b"\x00\x00\x01\x8b",
        b"\x00" * 9,
        b"null",
    ],
)
def test_values_that_are_not_times(value: bytes) -> None:
    assert parse_time(value) is None


@given(st.binary(max_size=40))
def test_any_value_is_parsed_without_an_error(value: bytes) -> None:
    found = parse_time(value)
    assert found is None or 1.0 <= found < 32_503_680_000.0


@given(st.text(max_size=30))
def test_any_text_is_parsed_without_an_error(value: str) -> None:
    found = parse_time(value.encode(errors="surrogatepass"))
    assert found is None or 1.0 <= found < 32_503_680_000.0
