"""Which messages count as a probe's receipt: those of this channel, the first time, and in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, Message

from exporter.collectors.kafka.probe.channel import Arrival, Channel, ProbeInFlight

LONG = 3600.0


@pytest.fixture
def channel() -> Iterator[Channel]:
    """A channel without a broker."""
    properties = {"bootstrap.servers": "127.0.0.1:1", "error_cb": lambda _: None, "log_level": 0}
    channel = Channel(properties, "topic", 1.0)
    yield channel
    channel.close()


def message(key: bytes | None, value: bytes = b"7", topic: str = "topic") -> Message:
    return Message(topic=topic, partition=1, offset=5, key=key, value=value)


def test_a_message_with_the_channels_mark_is_its_own(channel: Channel) -> None:
    assert channel.arrival(message(channel.mark)) == Arrival(7, 1, 5)


@pytest.mark.parametrize("key", [None, b"", b"12345678"])
def test_a_message_of_another_exporter_is_ignored(channel: Channel, key: bytes | None) -> None:
    assert channel.arrival(message(key, b"not a number")) is None


def test_a_probe_in_time_is_received_once() -> None:
    probe = ProbeInFlight(1, LONG, greets=False)
    assert probe.received()
    first = probe.receive
    assert not probe.received()
    assert probe.receive == first


def test_late_results_do_not_count() -> None:
    probe = ProbeInFlight(1, -1.0, greets=False)
    assert not probe.received()
    probe.delivered(None, message(b""))
    probe.acked(True)
    assert (probe.publish, probe.receive, probe.ack) == (None, None, None)
    assert probe.is_over()


def test_a_probe_is_over_when_it_is_published_received_and_answered() -> None:
    probe = ProbeInFlight(1, LONG, greets=False)
    probe.awaits_ack = probe.received()
    assert not probe.is_over()
    probe.delivered(None, message(b""))
    assert not probe.is_over()
    probe.acked(False)
    assert probe.is_over()
    assert probe.ack is None


def test_a_probe_that_cannot_be_published_is_over() -> None:
    probe = ProbeInFlight(1, LONG, greets=False)
    probe.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), message(b""))
    assert probe.is_over()
    assert probe.publish is None


def test_a_greeting_is_over_when_it_is_received_and_its_commit_is_answered() -> None:
    probe = ProbeInFlight(1, LONG, greets=True)
    probe.awaits_ack = probe.received()
    assert not probe.has_greeted()
    probe.delivered(None, message(b""))
    assert not probe.has_greeted()
    probe.acked(True)
    assert probe.has_greeted()
