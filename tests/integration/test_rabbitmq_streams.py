"""Streams with stored offsets, single active consumers, `next`, and super streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed.exporter import Exporter, rabbit_source, settled
from testbed.rabbit_streams import StreamClients
from testbed.rabbitmq import RabbitCluster

QUICK: dict[str, Any] = {
    "schedule": {"backlog": "300ms", "rates": "1s", "latency": "300ms"},
    "probe": {"enabled": False},
    "rate_window": "10s",
}


@pytest.fixture(scope="module")
def exporter(
    rabbitmq: RabbitCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    source = rabbit_source(rabbitmq, **QUICK)
    exporter = Exporter(tmp_path_factory.mktemp("streams"), [source])
    exporter.write([source], thresholds=[{"stop_seconds": "3s"}])
    with exporter:
        exporter.wait(lambda page: page.value("mq_up") == 1, "the source to be up")
        yield exporter


@pytest.fixture
def clients(rabbitmq: RabbitCluster) -> Iterator[StreamClients]:
    with StreamClients(rabbitmq) as clients:
        yield clients


def created(clients: StreamClients, exporter: Exporter, stream: str, **arguments: Any) -> str:
    """Create a stream whose messages are counted from now on."""
    clients.create(stream, {key.replace("_", "-"): value for key, value in arguments.items()})
    settled(exporter, {"mq_produced_messages_total": 0}, destination=stream)
    return stream


def test_a_named_consumer_that_stops_stays(exporter: Exporter, clients: StreamClients) -> None:
    stream = created(clients, exporter, "stopping")
    clients.publish(stream, 132)
    reader = clients.reader(stream, "app")
    reader.wait_received(132)
    settled(
        exporter,
        {"mq_lag_messages": 0, "mq_consumers": 1, "mq_produced_messages_total": 132},
        destination=stream,
    )
    reader.store(49)
    settled(exporter, {"mq_lag_messages": 0, "mq_log_end_offset": 133}, destination=stream)
    reader.close()
    settled(exporter, {"mq_lag_messages": 82, "mq_consumers": 0}, destination=stream)
    clients.publish(stream, 10)
    settled(
        exporter,
        {"mq_lag_messages": 92, "mq_consumers": 0, "mq_produced_messages_total": 142},
        destination=stream,
    )
    exporter.wait(
        lambda page: page.value("mq_subscription_status", destination=stream, status="stopped"),
        "the status",
        60,
    )
    assert exporter.scrape().find("mq_lag_upper_bound", destination=stream, group="app")
    (labels,) = exporter.scrape().find("mq_lag_messages", destination=stream)
    assert dict(labels)["group"] == "app"


def test_one_that_processed_all_and_stops_has_no_lag(
    exporter: Exporter, clients: StreamClients
) -> None:
    """It stored its offset after each message; RabbitMQ writes stored offsets into the stream."""
    stream = created(clients, exporter, "done")
    clients.publish(stream, 20)
    reader = clients.reader(stream, "app")
    reader.wait_received(20)
    settled(exporter, {"mq_lag_messages": 0, "mq_log_end_offset": 20}, destination=stream)
    for offset in range(20):
        reader.store(offset)
    exporter.wait(
        lambda page: (page.value("mq_log_end_offset", destination=stream) or 0) > 20,
        "the stored offsets in the stream",
    )
    settled(exporter, {"mq_lag_messages": 0, "mq_produced_messages_total": 20}, destination=stream)
    reader.close()
    settled(exporter, {"mq_lag_messages": 0, "mq_consumers": 0}, destination=stream)
    clients.publish(stream, 5)
    settled(exporter, {"mq_lag_messages": 5, "mq_consumers": 0}, destination=stream)


def test_consumers_without_a_name_count_what_was_produced_once(
    exporter: Exporter, clients: StreamClients
) -> None:
    stream = created(clients, exporter, "unnamed")
    readers = [clients.reader(stream), clients.reader(stream)]
    settled(exporter, {"mq_lag_messages": 0, "mq_consumers": 2}, destination=stream)
    clients.publish(stream, 132)
    for reader in readers:
        reader.wait_received(132)
    settled(
        exporter,
        {
            "mq_lag_messages": 0,
            "mq_produced_messages_total": 132,
            "mq_subscription_produced_messages_total": 132,
            "mq_consumed_messages_total": 132,
        },
        destination=stream,
    )


def test_one_at_next_on_a_quiet_stream(exporter: Exporter, clients: StreamClients) -> None:
    stream = created(clients, exporter, "next")
    clients.publish(stream, 132)
    settled(exporter, {"mq_produced_messages_total": 132}, destination=stream)
    reader = clients.reader(stream, start="next")
    settled(
        exporter,
        {"mq_lag_messages": 0, "mq_consumers": 1, "mq_consumed_messages_total": 0},
        destination=stream,
    )
    clients.publish(stream, 3)
    reader.wait_received(3)
    settled(
        exporter,
        {
            "mq_lag_messages": 0,
            "mq_produced_messages_total": 135,
            "mq_consumed_messages_total": 3,
        },
        destination=stream,
    )


def test_of_single_active_consumers_the_active_one_stands(
    exporter: Exporter, clients: StreamClients
) -> None:
    stream = created(clients, exporter, "single")
    clients.publish(stream, 30)
    active = clients.reader(stream, "app", single=True)
    waiting = clients.reader(stream, "app", single=True)
    active.wait_received(30)
    settled(
        exporter,
        {"mq_lag_messages": 0, "mq_consumers": 1, "mq_committed_offset": 30},
        destination=stream,
    )
    active.store(29)
    settled(exporter, {"mq_lag_messages": 0, "mq_log_end_offset": 31}, destination=stream)
    active.close()
    waiting.wait_received(30)  # it begins at the first message
    settled(exporter, {"mq_lag_messages": 0, "mq_consumers": 1}, destination=stream)


def test_the_streams_of_a_super_stream_are_partitions(
    exporter: Exporter, clients: StreamClients
) -> None:
    name = "super/stream %2F"
    clients.create_super(name, 3)
    for number in range(3):
        settled(
            exporter,
            {"mq_produced_messages_total": 0},
            destination=name,
            partition=str(number),
        )
        clients.publish(f"{name}-{number}", 10 * number)
    readers = [clients.reader(f"{name}-{number}", "app") for number in range(3)]
    for number, reader in enumerate(readers):
        reader.wait_received(10 * number)
        settled(
            exporter,
            {
                "mq_lag_messages": 0,
                "mq_committed_offset": 10 * number,
                "mq_log_end_offset": 10 * number,
                "mq_produced_messages_total": 10 * number,
            },
            destination=name,
            partition=str(number),
        )
    settled(
        exporter,
        {"mq_consumers": 3},
        destination=name,
        group="app",
    )
    readers[2].store(4)
    readers[2].close()
    settled(exporter, {"mq_lag_messages": 15}, destination=name, group="app", partition="2")
    page = settled(exporter, {"mq_consumers": 2}, destination=name, group="app")
    shown = {dict(labels).get("destination") for labels in page.find("mq_produced_messages_total")}
    assert not any(each is not None and each.startswith(f"{name}-") for each in shown)


def test_a_stream_of_which_the_oldest_messages_were_deleted(
    exporter: Exporter, clients: StreamClients
) -> None:
    """It has fewer messages than its end offset, which continues from where a consumer saw it."""
    stream = "short"
    limits = {"max-length-bytes": 4_000, "stream-max-segment-size-bytes": 2_000}
    clients.create(stream, limits)
    settled(exporter, {"mq_log_end_offset": None}, destination=stream)
    clients.publish(stream, 200)
    reader = clients.reader(stream, "app", "next")
    clients.publish(stream, 5)
    reader.wait_received(5)
    settled(exporter, {"mq_log_end_offset": 205, "mq_lag_messages": 0}, destination=stream)
    reader.store(204)
    reader.close()
    settled(exporter, {"mq_consumers": 0, "mq_lag_messages": 0}, destination=stream)
    clients.publish(stream, 1)

    settled(exporter, {"mq_lag_messages": 1}, destination=stream)
