"""The tests' own NSQ does what the other tests rely on."""

from __future__ import annotations

import socket
import time

import psutil
import pytest
import requests

from testbed import nsq_data
from testbed.nsq import NsqCluster
from testbed.nsq_data import NsqConsumer, NsqError
from testbed.waiting import wait_until


def topics(nsq: NsqCluster, lookupd: str) -> set[str]:
    answer = requests.get(f"{nsq.http_url(lookupd)}/topics", timeout=5)
    return set(answer.json()["topics"])


def counts(url: str, topic: str, channel: str) -> dict[str, int]:
    """Of one channel: depth, in flight, deferred and all messages so far."""
    keys = ("depth", "in_flight_count", "deferred_count", "message_count")
    found = nsq_data.channel_stats(url, topic, channel)
    return {key.removesuffix("_count"): found[key] for key in keys}


def test_every_nsqlookupd_knows_every_nsqd_and_topic(nsq: NsqCluster) -> None:
    for nsqd in nsq.nsqds:
        nsq_data.create_channel(nsq.http_url(nsqd), f"on-{nsqd}", "c")
    for lookupd in nsq.lookupds:
        wait_until(lambda of=lookupd: topics(nsq, of) == {"on-nsqd-0", "on-nsqd-1"}, "topics")  # type: ignore[misc]


def test_messages_are_counted_where_they_are(nsq: NsqCluster) -> None:
    url = nsq.http_url()
    nsq_data.create_channel(url, "orders", "billing")
    nsq_data.publish(url, "orders", b"one")
    nsq_data.publish_all(url, "orders", [b"two", b"three\n", b"four"])
    nsq_data.publish(url, "orders", b"later", defer_ms=60_000)
    wanted = {"depth": 4, "in_flight": 0, "deferred": 1, "message": 5}
    wait_until(lambda: counts(url, "orders", "billing") == wanted, "the messages to be counted")
    with NsqConsumer(nsq.tcp_address(), "orders", "billing", rate=0, max_in_flight=3) as consumer:
        consumer.wait_held(3)
        assert counts(url, "orders", "billing") == {**wanted, "depth": 1, "in_flight": 3}
    nsq_data.empty(url, "orders", "billing")
    wait_until(
        lambda: counts(url, "orders", "billing") == {**wanted, "depth": 0, "deferred": 0},
        "the channel to be empty",
    )


def test_a_consumer_gets_what_was_published_and_when(nsq: NsqCluster) -> None:
    url = nsq.http_url()
    nsq_data.create_channel(url, "orders", "billing")
    before = time.time()
    nsq_data.publish_all(url, "orders", [b"%d" % i for i in range(5)])
    after = time.time()
    with NsqConsumer(nsq.tcp_address(), "orders", "billing") as consumer:
        deliveries = consumer.wait_processed(5)
    assert sorted(delivery.body for delivery in deliveries) == [b"0", b"1", b"2", b"3", b"4"]
    for delivery in deliveries:
        assert before <= delivery.enqueued_at <= after
        assert delivery.enqueued_at <= delivery.delivered_at <= delivery.processed_at
        assert delivery.attempts == 1
    assert counts(url, "orders", "billing")["depth"] == 0


def test_a_consumer_keeps_its_rate_answers_heartbeats_and_gives_back_what_it_holds(
    nsq: NsqCluster,
) -> None:
    url = nsq.http_url()
    nsq_data.create_channel(url, "orders", "billing")
    nsq_data.publish_all(url, "orders", [b"v"] * 60)
    consumer = NsqConsumer(nsq.tcp_address(), "orders", "billing", rate=50, max_in_flight=20)
    consumer.heartbeat_ms = 1000
    with consumer:
        processed = consumer.wait_processed(26)
        consumer.rate = 0
        held = consumer.wait_held(20)
        time.sleep(2.5)  # after two missed heartbeats nsqd closes the connection
        consumer.rate = 50
        consumer.wait_processed(len(consumer.processed) + 1)
        consumer.rate = 0
    seconds = processed[-1].processed_at - processed[0].processed_at
    assert seconds == pytest.approx(0.5, abs=0.3)  # twice as fast or slow would be wrong
    assert len(held) == 20
    left = 60 - len(consumer.processed)
    assert counts(url, "orders", "billing") == {
        "depth": left,
        "in_flight": 0,
        "deferred": 0,
        "message": 60,
    }


def test_a_requeued_message_comes_again(nsq: NsqCluster) -> None:
    nsq_data.create_channel(nsq.http_url(), "orders", "billing")
    nsq_data.publish(nsq.http_url(), "orders")
    with NsqConsumer(
        nsq.tcp_address(),
        "orders",
        "billing",
        outcome=lambda delivery: "requeue" if delivery.attempts < 3 else "finish",
    ) as consumer:
        processed = consumer.wait_processed(3)
    assert [(each.attempts, each.outcome) for each in processed] == [
        (1, "requeue"),
        (2, "requeue"),
        (3, "finish"),
    ]


def test_what_nsqd_refuses_raises(nsq: NsqCluster) -> None:
    with (
        pytest.raises(NsqError, match="E_BAD_CHANNEL"),
        NsqConsumer(nsq.tcp_address(), "orders", "no!channel"),
    ):
        pass
    with pytest.raises(requests.HTTPError):
        nsq_data.create_topic(nsq.http_url(), "no topic")


def test_paused_topics_and_channels_keep_their_messages(nsq: NsqCluster) -> None:
    url = nsq.http_url()
    nsq_data.create_channel(url, "orders", "billing")
    nsq_data.pause(url, "orders")
    nsq_data.publish(url, "orders")
    assert nsq_data.topic_stats(url, "orders")["depth"] == 1
    nsq_data.pause(url, "orders", "billing")
    nsq_data.unpause(url, "orders")
    wait_until(lambda: counts(url, "orders", "billing")["depth"] == 1, "the channel's message")
    with NsqConsumer(nsq.tcp_address(), "orders", "billing") as consumer:
        time.sleep(0.2)
        assert consumer.processed == []
        nsq_data.unpause(url, "orders", "billing")
        consumer.wait_processed(1)


def test_deleted_channels_and_topics_are_gone(nsq: NsqCluster) -> None:
    url = nsq.http_url()
    nsq_data.create_channel(url, "orders", "tmp#ephemeral")
    assert nsq_data.channel_stats(url, "orders", "tmp#ephemeral")["depth"] == 0
    nsq_data.delete(url, "orders", "tmp#ephemeral")
    with pytest.raises(LookupError):
        nsq_data.channel_stats(url, "orders", "tmp#ephemeral")
    nsq_data.delete(url, "orders")
    assert nsq_data.stats(url)["topics"] == []


def test_a_killed_nsqd_loses_what_is_in_memory_and_a_terminated_one_does_not(
    nsq: NsqCluster,
) -> None:
    url = nsq.http_url("nsqd-1")
    nsq_data.create_channel(url, "orders", "billing")
    nsq_data.publish_all(url, "orders", [b"v"] * 5)
    nsq.terminate("nsqd-1")
    nsq.restart("nsqd-1")
    assert counts(url, "orders", "billing")["depth"] == 5
    nsq.kill("nsqd-1")
    with pytest.raises(requests.ConnectionError):
        nsq_data.stats(url)
    nsq.wait_registered()  # nsqlookupd has forgotten it
    nsq.restart("nsqd-1")
    nsq.wait_registered()
    assert counts(url, "orders", "billing")["message"] == 0


def test_a_restarted_nsqlookupd_learns_of_the_nsqds_when_they_announce_themselves(
    nsq: NsqCluster,
) -> None:
    nsq_data.create_topic(nsq.http_url(), "orders")
    nsq.kill("lookupd-0")
    nsq.restart("lookupd-0")
    assert topics(nsq, "lookupd-0") == set()
    nsq.announce()
    wait_until(lambda: topics(nsq, "lookupd-0") == {"orders"}, "the topic to be known again")


def test_a_paused_nsqd_answers_again_when_it_is_resumed(nsq: NsqCluster) -> None:
    nsq.pause("nsqd-0")
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{nsq.http_url()}/stats", timeout=0.5)
    nsq.resume("nsqd-0")
    assert nsq_data.stats(nsq.http_url())["topics"] == []


def test_with_tls_both_http_and_clients_are_encrypted() -> None:
    with NsqCluster(tls=True, options={"mem-queue-size": "0"}) as nsq:
        nsq_data.create_channel(nsq.http_url(), "orders", "billing")
        nsq_data.publish(nsq.http_url(), "orders")
        with NsqConsumer(
            nsq.tcp_address(), "orders", "billing", ca_file=nsq.ca_file, rate=0
        ) as consumer:
            consumer.wait_held(1)
            client = nsq_data.channel_stats(nsq.http_url(), "orders", "billing")["clients"][0]
            assert client["tls"]
        secure = nsq.http_url(tls=True)
        assert requests.get(f"{secure}/ping", verify=str(nsq.ca_file), timeout=5).text == "OK"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{secure}/ping", timeout=5)


def test_options_are_passed_on() -> None:
    with NsqCluster(options={"e2e-processing-latency-percentile": "1.0,0.5"}) as nsq:
        nsq_data.create_channel(nsq.http_url(), "orders", "billing")
        latency = nsq_data.channel_stats(nsq.http_url(), "orders", "billing")
    quantiles = latency["e2e_processing_latency"]["percentiles"]
    assert [each["quantile"] for each in quantiles] == [1.0, 0.5]


def test_a_stopped_cluster_leaves_no_process_no_port_and_no_file() -> None:
    before = set(psutil.Process().children(recursive=True))
    with NsqCluster(tls=True) as cluster:
        processes = (*cluster.nsqds, *cluster.lookupds)
        folder = cluster.log_file("nsqd-0").parents[1]
        ports = [cluster.port(name, listener) for name in processes for listener in ("tcp", "http")]
        for port in ports:
            socket.create_connection(("127.0.0.1", port), 1).close()
    assert set(psutil.Process().children(recursive=True)) == before
    assert not folder.exists()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
