"""The metrics of RabbitMQ's queues, compared with what was done to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import rstream

from testbed import rabbit_data as data
from testbed.exporter import Exporter, Scrape, rabbit_source, settled
from testbed.rabbit_data import QueueKind, RabbitConsumer
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of, quote_name
from testbed.waiting import wait_until

QUICK: dict[str, Any] = {
    "schedule": {
        "backlog": "300ms",
        "rates": "1s",
        "latency": "300ms",
        "discovery": "1s",
        "probe": "500ms",
    }
}
HOSTILE = ('quote"', "back\\slash", "sp ace/{},=", "🐇", "%2F", "x" * 200)


@pytest.fixture(scope="module")
def exporter(
    rabbitmq: RabbitCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    """One daemon for the tests that change nothing; it shows each test's own queues."""
    source = rabbit_source(rabbitmq, **QUICK)
    with Exporter(tmp_path_factory.mktemp("rabbit"), [source]) as exporter:
        exporter.wait(lambda page: page.value("mq_up") == 1, "the source to be up")
        yield exporter


def known(exporter: Exporter, queue: str) -> None:
    """Wait until the queue's counts are known: messages that move from now on are counted."""
    exporter.wait(
        lambda page: page.find("mq_consumed_messages_total", destination=queue), f"{queue}", 40
    )


@pytest.mark.parametrize("kind", ["classic", "quorum", "lazy", "priority"])
def test_lag_rates_and_consumers(
    rabbitmq: RabbitCluster, exporter: Exporter, kind: QueueKind
) -> None:
    url, queue = rabbitmq.amqp_url(), f"numbers-{kind}"
    data.declare(url, queue, kind)
    known(exporter, queue)
    data.publish(url, queue, 50, body=b"abcd")
    with RabbitConsumer(url, queue, rate=0, prefetch=8) as consumer:
        consumer.wait_held(8)
        page = settled(
            exporter,
            {
                "mq_lag_messages": 50,
                "mq_unacknowledged_messages": 8,
                "mq_produced_messages_total": 50,
                "mq_subscription_produced_messages_total": 50,
                "mq_consumed_messages_total": 0,
                "mq_consumers": 1,
                "mq_message_size_bytes": 4,
            },
            destination=queue,
        )
        (labels,) = page.find("mq_lag_messages", destination=queue)
        assert dict(labels) == {
            "system": "rabbitmq",
            "source": "test",
            "vhost": "/",
            "destination": queue,
        }
        consumer.rate = None
        consumer.wait_processed(50)
        settled(
            exporter,
            {"mq_lag_messages": 0, "mq_lag_seconds": 0, "mq_consumed_messages_total": 50},
            destination=queue,
        )
    settled(exporter, {"mq_consumers": 0, "mq_redelivered_messages_total": 0}, destination=queue)


def test_the_ways_in_which_messages_leave(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    """Acknowledged, taken without acknowledgement, requeued, rejected: processed or redelivered."""
    url, queue = rabbitmq.amqp_url(), "ways"
    data.declare(url, queue)
    known(exporter, queue)
    data.publish(url, queue, 20)
    data.get(url, queue, 5)
    data.get(url, queue, 4, "auto_ack")
    data.get(url, queue, 3, "requeue")
    data.get(url, queue, 2, "reject")
    settled(
        exporter,
        {
            "mq_lag_messages": 9,
            "mq_consumed_messages_total": 9,
            "mq_produced_messages_total": 20,
            "mq_redelivered_messages_total": 2,
        },
        destination=queue,
    )


def test_consumers_that_acknowledge_nothing(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    url, queue = rabbitmq.amqp_url(), "auto-ack"
    data.declare(url, queue)
    known(exporter, queue)
    with RabbitConsumer(url, queue, auto_ack=True) as consumer:
        data.publish(url, queue, 30)
        consumer.wait_processed(30)
        settled(
            exporter,
            {"mq_lag_messages": 0, "mq_consumed_messages_total": 30, "mq_consumers": 1},
            destination=queue,
        )


def test_dead_letters_come_without_a_publish(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    url = rabbitmq.amqp_url()
    data.declare(url, "dead")
    data.declare(url, "delay", ttl_ms=300, dead_letter_to="dead")
    known(exporter, "dead")
    known(exporter, "delay")
    data.publish(url, "delay", 25)
    settled(
        exporter,
        {"mq_lag_messages": 25, "mq_produced_messages_total": 25, "mq_consumed_messages_total": 0},
        destination="dead",
    )
    settled(
        exporter,
        {"mq_lag_messages": 0, "mq_produced_messages_total": 25, "mq_consumed_messages_total": 0},
        destination="delay",
    )
    data.get(url, "dead", 25)
    page = settled(
        exporter,
        {"mq_lag_messages": 0, "mq_produced_messages_total": 25, "mq_consumed_messages_total": 25},
        destination="dead",
    )
    assert page.value("mq_lag_seconds", destination="dead") == 0


def test_a_length_limit_and_a_purge_are_no_consumption(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    url = rabbitmq.amqp_url()
    data.declare(url, "short", max_length=10)
    data.declare(url, "purged")
    known(exporter, "short")
    known(exporter, "purged")
    data.publish(url, "short", 40)
    data.publish(url, "purged", 40)
    settled(exporter, {"mq_lag_messages": 40}, destination="purged")
    data.purge(url, "purged")
    for queue, lag in (("short", 10), ("purged", 0)):
        settled(
            exporter,
            {
                "mq_lag_messages": lag,
                "mq_produced_messages_total": 40,
                "mq_consumed_messages_total": 0,
            },
            destination=queue,
        )
    # The messages that are left in both are young: dropped ones have left too.
    data.publish(url, "purged", 3)
    page = settled(exporter, {"mq_lag_messages": 3}, destination="purged")
    began = time.monotonic()
    page = exporter.wait(
        lambda page: 0 < (page.value("mq_lag_seconds", destination="purged") or 0) < 15,
        "a young age",
        40,
    )
    assert (page.value("mq_lag_seconds", destination="purged") or 0) < 15 + time.monotonic() - began


def test_the_age_of_what_was_there_before_is_the_heads_timestamp(
    rabbitmq: RabbitCluster, tmp_path: Path
) -> None:
    """And absent without one: the exporter's history does not reach back that far."""
    url, hour = rabbitmq.amqp_url(), 3_600
    now = int(time.time())
    data.declare(url, "stamped")
    data.declare(url, "unstamped")
    data.publish(url, "stamped", 3, timestamp_seconds=lambda i: now - hour + i)
    data.publish(url, "unstamped", 3)
    wait_until(lambda: counted(rabbitmq, "stamped") == 3, "the statistics")
    wait_until(lambda: counted(rabbitmq, "unstamped") == 3, "the statistics")
    source = rabbit_source(rabbitmq, **QUICK, destinations={"include": [".*stamped"]})
    with Exporter(tmp_path, [source]) as exporter:
        page = exporter.wait(lambda page: page.find("mq_lag_seconds", destination="stamped"), "age")
        age = page.value("mq_lag_seconds", destination="stamped")
        assert age == pytest.approx(time.time() - now + hour, abs=5)
        assert page.find("mq_lag_seconds_method", destination="stamped", method="head")
        known(exporter, "unstamped")
        page = exporter.cycles(2)
        assert page.value("mq_lag_messages", destination="unstamped") == 3
        assert page.find("mq_lag_seconds", destination="unstamped") == {}


def counted(rabbitmq: RabbitCluster, queue: str) -> int | None:
    """Return how many messages have been published according to the statistics."""
    row = rabbitmq.api("GET", f"queues/%2F/{quote_name(queue)}")
    published: int | None = row.get("message_stats", {}).get("publish")
    return published if row.get("messages") == published else None


def test_an_estimate_of_a_backlog_that_stands_still(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    url, queue = rabbitmq.amqp_url(), "still"
    data.declare(url, queue)
    known(exporter, queue)
    published = time.time()
    data.publish(url, queue, 10)
    page = exporter.wait(
        lambda page: (page.value("mq_lag_seconds", destination=queue) or 0) > 6, "an age"
    )
    age = page.value("mq_lag_seconds", destination=queue)
    assert age == pytest.approx(time.time() - published, abs=2.5)
    assert page.find("mq_lag_seconds_method", destination=queue, method="estimate")


def test_bursts_of_clients_that_come_and_go(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    """Their counts and those of the queues have different times: none may be counted twice."""
    url, queues = rabbitmq.amqp_url(), [f"burst-{number}" for number in range(12)]
    for queue in queues:
        data.declare(url, queue)
    for queue in queues:
        known(exporter, queue)
    begun, published = {}, {}
    for queue in queues:
        begun[queue] = time.time()
        data.publish(url, queue, 100)
        published[queue] = time.time()
    for queue in queues:
        settled(
            exporter,
            {"mq_lag_messages": 100, "mq_produced_messages_total": 100},
            destination=queue,
        )
    for queue in queues:
        asked = time.time()
        age = exporter.scrape().value("mq_lag_seconds", destination=queue)
        assert age is not None
        # An age is as old as the last poll, which a busy machine may delay.
        assert asked - published[queue] - 8 < age < time.time() - begun[queue] + 4
    for queue in queues:
        data.get(url, queue, 60)
    wait_until(
        lambda: all(
            rabbitmq.api("GET", f"queues/%2F/{queue}").get("message_stats", {}).get("ack") == 60
            for queue in queues
        ),
        "the statistics",
    )
    for queue in queues:
        settled(
            exporter,
            {
                "mq_lag_messages": 40,
                "mq_produced_messages_total": 100,
                "mq_consumed_messages_total": 60,
            },
            destination=queue,
        )


def test_latencies_of_what_was_consumed(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    url, queue = rabbitmq.amqp_url(), "late"
    data.declare(url, queue)
    known(exporter, queue)
    data.publish(url, queue, 10)
    settled(exporter, {"mq_lag_messages": 10}, destination=queue)
    exporter.wait(lambda page: (page.value("mq_lag_seconds", destination=queue) or 0) > 6, "age")
    data.get(url, queue, 10)
    page = exporter.wait(
        lambda page: page.value("mq_latency_seconds_count", destination=queue), "a latency"
    )
    count = page.value("mq_latency_seconds_count", destination=queue)
    total = page.value("mq_latency_seconds_sum", destination=queue)
    assert count is not None
    assert total is not None
    assert 5 < total / count < 12


def test_names_of_queues_and_vhosts(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    vhost = 'ünï/ 🐇 "v" %2F'
    rabbitmq.add_vhost(vhost)
    url = rabbitmq.amqp_url(vhost=vhost)
    for name in HOSTILE:
        data.declare(url, name)
        data.publish(url, name, 2)

    def lags(page: Scrape) -> dict[str, float]:
        found = page.find("mq_lag_messages", vhost=vhost)
        return {dict(labels)["destination"]: lag for labels, lag in found.items()}

    exporter.wait(lambda page: lags(page) == dict.fromkeys(HOSTILE, 2), "all of them", 40)
    page = exporter.cycles(2)
    assert page.value("mq_collect_success", task="latency") == 1
    rabbitmq.delete_vhost(vhost)
    exporter.wait(lambda page: lags(page) == {}, "them to be gone", 40)


def test_internals_are_left_out_unless_they_are_wanted(
    rabbitmq: RabbitCluster, exporter: Exporter, tmp_path: Path
) -> None:
    url = rabbitmq.amqp_url()
    data.declare(url, "plain")
    data.declare(url, "passing", auto_delete=True)
    with data.exclusive_queue(url, "mine"):
        exporter.wait(lambda page: page.find("mq_lag_messages", destination="plain"), "the queue")
        page = exporter.cycles(2)
        for queue in ("passing", "mine"):
            assert page.find("mq_lag_messages", destination=queue) == {}
        source = rabbit_source(rabbitmq, **QUICK, internals=True)
        with Exporter(tmp_path, [source]) as curious:
            for queue in ("plain", "passing", "mine"):
                settled(curious, {"mq_lag_messages": 0}, destination=queue)
    data.delete_queue(url, "passing")


def test_a_deleted_queue_ends_and_counts_where_it_lagged(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    url = rabbitmq.amqp_url()
    before = exporter.scrape().value("mq_subscriptions_lost_total", reason="deleted")
    assert before is not None
    data.declare(url, "doomed")
    data.publish(url, "doomed", 2)
    settled(exporter, {"mq_lag_messages": 2}, destination="doomed")
    data.delete_queue(url, "doomed")
    page = exporter.wait(
        lambda page: not any(dict(key[1]).get("destination") == "doomed" for key in page.series),
        "every series to end",
    )
    assert page.value("mq_subscriptions_lost_total", reason="deleted") == before + 1


def test_a_stream_is_no_backlog(rabbitmq: RabbitCluster, exporter: Exporter) -> None:
    url = rabbitmq.amqp_url()
    data.declare(url, "stream", "stream")
    data.declare(url, "beside-the-stream")
    data.publish(url, "stream", 30)
    with RabbitConsumer(
        url, "stream", prefetch=10, arguments={"x-stream-offset": "first"}
    ) as consumer:
        consumer.wait_processed(30)
        exporter.wait(
            lambda page: page.find("mq_lag_messages", destination="beside-the-stream"), "a look"
        )
        page = exporter.cycles(2)
    assert page.find("mq_lag_messages", destination="stream") == {}


def test_a_consumer_of_a_stream_lags_by_what_was_not_sent_to_it(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    asyncio.run(_stream(rabbitmq, exporter, "stream-lag"))


CHUNK = 50
"""Maximum number of messages per chunk here.

The broker stores and sends a chunk at once, and reports positions by its first message.
"""


async def _stream(rabbitmq: RabbitCluster, exporter: Exporter, stream: str) -> None:
    """Publish, read slowly, read all.

    The exporter is scraped in a thread, so that the clients continue.
    """
    login: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": rabbitmq.port("stream"),
        "username": "admin",
        "password": password_of("admin"),
    }
    go_on, received = asyncio.Event(), 0

    async def take(message: Any, context: Any) -> None:
        nonlocal received
        received += 1
        if received > 100:
            await go_on.wait()

    async with rstream.Producer(**login) as producer:
        await producer.create_stream(stream)
        for _ in range(60):
            await producer.send_batch(stream, [rstream.AMQPMessage(body=b"x")] * (CHUNK - 1))
            last = rstream.AMQPMessage(body=b"x")
            await producer.send_wait(stream, last, timeout=60)  # stored: the chunk is complete
    consumer = rstream.Consumer(**login)
    await consumer.start()
    try:
        first = rstream.ConsumerOffsetSpecification(rstream.OffsetType.FIRST, None)
        await consumer.subscribe(
            stream, take, decoder=rstream.amqp_decoder, offset_specification=first
        )
        reading = asyncio.create_task(consumer.run())
        page = await asyncio.to_thread(
            exporter.wait,
            lambda page: (
                (page.value("mq_log_end_offset", destination=stream) or 0) >= 3_000 - CHUNK
            ),
            "all of it",
        )
        lag = page.value("mq_lag_messages", destination=stream)
        end = page.value("mq_log_end_offset", destination=stream)
        committed = page.value("mq_committed_offset", destination=stream)
        assert lag is not None
        assert end is not None
        assert committed is not None
        (seen,) = await asyncio.to_thread(rabbitmq.api, "GET", "stream/consumers")
        assert lag == pytest.approx(3_000 - seen["consumed"], abs=2 * CHUNK)
        assert lag == end - committed
        assert page.value("mq_consumers", destination=stream) == 1
        go_on.set()
        await asyncio.to_thread(
            settled, exporter, {"mq_lag_messages": 0, "mq_lag_seconds": 0}, destination=stream
        )
        assert received > 3_000 - CHUNK
    finally:
        go_on.set()
        await consumer.close()
    reading.cancel()
    await asyncio.to_thread(
        exporter.wait,
        lambda page: page.find("mq_lag_messages", destination=stream) == {},
        "the consumer to be gone",
    )


def test_the_plugins_page_says_the_same(rabbitmq: RabbitCluster, tmp_path: Path) -> None:
    url = rabbitmq.amqp_url()
    names = ("detailed", 'detailed "q" 🐇')
    for number, name in enumerate(names):
        data.declare(url, name)
        data.publish(url, name, 5 + number)
    source = rabbit_source(rabbitmq, **QUICK, prometheus_url=rabbitmq.prometheus_url())
    with Exporter(tmp_path, [source]) as exporter:
        for number, name in enumerate(names):
            settled(exporter, {"mq_lag_messages": 5 + number}, destination=name)
        exporter.cycles(2)
        data.publish(url, names[0], 3)
        with RabbitConsumer(url, names[0], rate=0, prefetch=2) as consumer:
            consumer.wait_held(2)
            settled(
                exporter,
                {"mq_lag_messages": 8, "mq_unacknowledged_messages": 2},
                destination=names[0],
            )
        page = exporter.scrape()
        assert page.value("mq_collect_success", task="backlog") == 1
        data.delete_queue(url, names[1])
        exporter.wait(
            lambda page: not page.find("mq_lag_messages", destination=names[1]), "its end"
        )


def test_a_broker_without_statistics_has_its_lag(tmp_path: Path) -> None:
    """The log says once what is missing; the poll does not fail."""
    with RabbitCluster(settings={"management_agent.disable_metrics_collector": "true"}) as rabbit:
        data.declare(rabbit.amqp_url(), "q")
        data.publish(rabbit.amqp_url(), "q", 4)
        with Exporter(tmp_path, [rabbit_source(rabbit, **QUICK)]) as exporter:
            settled(exporter, {"mq_lag_messages": 4}, destination="q")
            wait_until(lambda: "feature.missing" in exporter.log(), "it to be told")
            page = exporter.cycles(4)
            assert page.value("mq_lag_messages", destination="q") == 4
            for name in ("mq_consumed_messages_total", "mq_lag_seconds", "mq_consumers"):
                assert page.find(name, destination="q") == {}
            assert page.value("mq_collect_success", task="backlog") == 1
            assert page.value("mq_collect_success", task="rates") == 1
            assert page.value("mq_probe_success") == 1
            assert exporter.log().count("feature.missing") == 1
            assert "disable_metrics_collector" in exporter.log()


def test_a_poison_message_and_its_delivery_limit(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    """What a quorum queue drops after too many deliveries was not consumed."""
    url, queue = rabbitmq.amqp_url(), "poison"
    data.declare(url, queue, "quorum", arguments={"x-delivery-limit": 3})
    known(exporter, queue)
    data.publish(url, queue, 2)
    with RabbitConsumer(url, queue, outcome=lambda _: "requeue"):
        settled(
            exporter,
            {
                "mq_lag_messages": 0,
                "mq_consumed_messages_total": 0,
                "mq_produced_messages_total": 2,
                "mq_redelivered_messages_total": 6,
            },
            destination=queue,
        )


def test_a_single_active_consumer_and_the_one_that_waits(
    rabbitmq: RabbitCluster, exporter: Exporter
) -> None:
    url, queue = rabbitmq.amqp_url(), "single"
    data.declare(url, queue, arguments={"x-single-active-consumer": True})
    known(exporter, queue)
    with RabbitConsumer(url, queue, rate=0) as first, RabbitConsumer(url, queue) as second:
        data.publish(url, queue, 10)
        first.wait_held(10)
        settled(
            exporter,
            {"mq_lag_messages": 10, "mq_unacknowledged_messages": 10, "mq_consumers": 2},
            destination=queue,
        )
        assert second.processed == []
        first.rate = None
        first.wait_processed(10)
        settled(
            exporter, {"mq_lag_messages": 0, "mq_consumed_messages_total": 10}, destination=queue
        )


# Rights


def test_a_vhost_that_the_user_may_not_see_is_told(rabbitmq: RabbitCluster, tmp_path: Path) -> None:
    rabbitmq.add_vhost("closed")
    data.declare(rabbitmq.amqp_url(vhost="closed"), "unseen")
    data.declare(rabbitmq.amqp_url(), "open")
    rabbitmq.add_user("half", tags="monitoring")
    rabbitmq.allow("half", "/", configure="^$", write="^$", read="^$")
    source = rabbit_source(
        rabbitmq, **QUICK, username="half", password="half-secret", probe={"enabled": False}
    )
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(
            lambda page: page.value(
                "mq_collect_failures_total", task="discovery", reason="partial"
            ),
            "it to be told",
        )
        exporter.wait(lambda page: page.find("mq_lag_messages", destination="open"), "the other")
        assert "closed" in exporter.log()
        assert "set_permissions" in exporter.log()
        rabbitmq.allow("half", "closed", configure="^$", write="^$", read="^$")
        exporter.wait(lambda page: page.find("mq_lag_messages", destination="unseen"), "the queue")
        exporter.wait(lambda page: page.value("mq_collect_success", task="discovery") == 1, "it")
    rabbitmq.delete_vhost("closed")


def test_a_wrong_password_and_a_wrong_address(rabbitmq: RabbitCluster, tmp_path: Path) -> None:
    wrong = rabbit_source(rabbitmq, "wrong", **QUICK, password="not-the-password")
    away = rabbit_source(
        rabbitmq, "away", **QUICK, amqp_url=[], management_url=rabbitmq.prometheus_url()
    )
    good = rabbit_source(rabbitmq, "good", **QUICK)
    with Exporter(tmp_path, [wrong, away, good]) as exporter:
        page = exporter.wait(lambda p: p.value("mq_up", source="good") == 1, "the good one")
        for name, reason in (("wrong", "unauthorized"), ("away", "invalid")):
            page = exporter.wait(
                lambda p, name=name, reason=reason: p.value(  # type: ignore[misc]
                    "mq_collect_failures_total", source=name, task="backlog", reason=reason
                ),
                f"{name} to fail",
            )
            assert page.value("mq_up", source=name) == 0
        exporter.wait(
            lambda p: p.value("mq_probe_messages_total", source="wrong", result="failed"), "a probe"
        )
        shown = (
            exporter.log()
            + exporter.get("/api/v1/subscriptions").text
            + exporter.get("/metrics").text
        )
        assert "not-the-password" not in shown
        assert "check username and password" in shown


# Probes


def test_probes_time_the_node_and_leave_nothing(rabbitmq: RabbitCluster, tmp_path: Path) -> None:
    source = rabbit_source(rabbitmq, schedule={"backlog": "1s", "probe": "100ms"})
    node = f"127.0.0.1:{rabbitmq.port('amqp')}"
    before = probe_queues(rabbitmq)
    with Exporter(tmp_path, [source]) as exporter:
        page = exporter.wait(
            lambda p: (p.value("mq_probe_messages_total", node=node, result="received") or 0) >= 50,
            "probes",
        )
        for stage in ("publish", "receive", "ack"):
            quick = page.value("mq_probe_latency_seconds_bucket", node=node, stage=stage, le="0.05")
            every = page.value("mq_probe_latency_seconds_count", node=node, stage=stage)
            assert quick is not None
            assert every is not None
            assert quick > every / 2
        assert page.value("mq_probe_success", node=node) == 1
        assert len(probe_queues(rabbitmq) - before) == 1
        assert not [
            key
            for key in page.series
            if "mq-lag-exporter-probe" in dict(key[1]).get("destination", "")
        ]
        exporter.terminate()
    wait_until(lambda: probe_queues(rabbitmq) <= before, "nothing to be left")


def probe_queues(rabbitmq: RabbitCluster) -> set[str]:
    names = {row["name"] for row in rabbitmq.api("GET", "queues?columns=name")}
    return {name for name in names if name.startswith("mq-lag-exporter-probe")}


def test_a_probe_needs_few_rights_and_says_which(rabbitmq: RabbitCluster, tmp_path: Path) -> None:
    rabbitmq.add_user("prober", tags="monitoring")
    rabbitmq.allow("prober", "/", configure="^$", write="^$", read="^$")
    source = rabbit_source(rabbitmq, **QUICK, username="prober", password="prober-secret")
    with Exporter(tmp_path, [source]) as exporter:
        page = exporter.wait(
            lambda p: (p.value("mq_probe_messages_total", result="failed") or 0) >= 2, "failures"
        )
        assert page.value("mq_probe_success") == 0
        assert page.value("mq_up") == 1
        assert "configure ^NAME" in exporter.log()
        name = r"^mq-lag-exporter-probe\..*"
        write = r"^(amq\.default|mq-lag-exporter-probe\..*)$"
        rabbitmq.allow("prober", "/", configure=name, write=write, read=name)
        exporter.wait(lambda p: p.value("mq_probe_success") == 1, "a probe")


def test_a_closed_connection_is_made_anew_without_a_failed_probe(
    rabbitmq: RabbitCluster, tmp_path: Path
) -> None:
    with Exporter(tmp_path, [rabbit_source(rabbitmq, **QUICK)]) as exporter:
        exporter.wait(lambda p: p.value("mq_probe_success") == 1, "a probe")

        def ours() -> list[str]:
            rows = rabbitmq.api("GET", "connections")
            return [
                row["name"]
                for row in rows
                if "mq-lag-exporter" in row.get("client_properties", {}).get("connection_name", "")
            ]

        names = wait_until(ours, "the connection to be listed")
        for name in names:
            try:
                rabbitmq.api("DELETE", f"connections/{quote_name(name)}")
            except requests.HTTPError as gone:
                assert gone.response.status_code == requests.codes.not_found  # noqa: PT017
        wait_until(lambda: ours() and set(ours()).isdisjoint(names), "another connection")
        page = exporter.scrape()
        assert page.value("mq_probe_messages_total", result="failed") == 0
        assert page.value("mq_probe_messages_total", result="lost") == 0


def test_a_memory_alarm_fails_probes_and_is_shown(rabbitmq: RabbitCluster, tmp_path: Path) -> None:
    source: dict[str, Any] = rabbit_source(rabbitmq, **QUICK, probe={"deadline": "1s"})
    with Exporter(tmp_path, [source]) as exporter:
        exporter.wait(lambda p: p.value("mq_probe_success") == 1, "a probe")
        with rabbitmq.memory_alarm():
            exporter.wait(lambda p: p.value("mq_probe_success") == 0, "probes to fail")
            wait_until(lambda: "blocks publishers" in exporter.log(), "the reason")

            def alarms() -> str:
                shown = exporter.get("/api/v1/subscriptions").json()["sources"][0]
                return str(shown["alarms"])

            wait_until(lambda: "memory alarm" in alarms(), "the alarm")
            assert "RESOURCE_LOCKED" not in exporter.log()
        failed = exporter.scrape().value("mq_probe_messages_total", result="failed")
        page = exporter.wait(lambda p: p.value("mq_probe_success") == 1, "probes again")
        more = page.value("mq_probe_messages_total", result="failed")
        assert failed is not None
        assert more is not None
        assert more - failed <= 3, "those under way, and no more"
        exporter.wait(
            lambda _: not exporter.get("/api/v1/subscriptions").json()["sources"][0]["alarms"],
            "the alarm's end",
        )
