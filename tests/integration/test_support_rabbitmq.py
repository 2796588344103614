"""The tests' own RabbitMQ clusters do what the other tests rely on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psutil
import pytest
import requests
from pika import BlockingConnection
from pika.exceptions import NackError, ProbableAccessDeniedError, UnroutableError

from testbed import rabbit_data
from testbed.rabbit_data import QueueKind, RabbitConsumer
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of, quote_name
from testbed.rabbitmq_config import PORTS
from testbed.waiting import wait_until


@pytest.fixture
def queue() -> str:
    return f"support-{uuid4()}"


@pytest.fixture
def url(rabbitmq: RabbitCluster) -> str:
    return rabbitmq.amqp_url()


def shown(cluster: RabbitCluster, queue: str, vhost: str = "/") -> Any:
    """Return what the management API reports of a queue."""
    return cluster.api("GET", f"queues/{quote_name(vhost)}/{quote_name(queue)}")


@pytest.mark.parametrize("kind", ["classic", "quorum", "stream", "lazy", "priority"])
def test_every_kind_of_queue_delivers_what_was_published(
    url: str, queue: str, kind: QueueKind
) -> None:
    rabbit_data.declare(url, queue, kind)
    before = time.time()
    rabbit_data.publish(url, queue, 5, body=lambda i: b"%d" % i)
    after = time.time()
    arguments = {"x-stream-offset": "first"} if kind == "stream" else {}
    with RabbitConsumer(url, queue, arguments=arguments) as consumer:
        deliveries = consumer.wait_processed(5)
    assert [delivery.body for delivery in deliveries] == [b"0", b"1", b"2", b"3", b"4"]
    for delivery in deliveries:
        assert before <= delivery.enqueued_at <= after
        assert delivery.enqueued_at <= delivery.delivered_at <= delivery.processed_at
        assert delivery.attempts == 1


def test_exclusive_and_auto_delete_queues_go_with_their_users(
    rabbitmq: RabbitCluster, url: str, queue: str
) -> None:
    own = f"{queue}-exclusive"
    with rabbit_data.exclusive_queue(url, own):
        assert shown(rabbitmq, own)["exclusive"]
    rabbit_data.declare(url, queue, durable=False, auto_delete=True)
    assert shown(rabbitmq, queue)["auto_delete"]
    with RabbitConsumer(url, queue):
        pass
    names = {each["name"] for each in rabbitmq.api("GET", "queues")}
    assert names.isdisjoint({own, queue})


def test_messages_expire_overflow_and_are_rejected_into_the_dead_letter_queue(
    url: str, queue: str
) -> None:
    dead = f"{queue}-dead"
    rabbit_data.declare(url, dead)
    rabbit_data.declare(url, queue, max_length=3, dead_letter_to=dead)
    rabbit_data.publish(url, queue, 5, body=lambda i: b"%d" % i)
    rabbit_data.publish(url, queue, body=b"5", ttl_ms=1)
    rabbit_data.get(url, queue, 2, "reject")
    wait_until(lambda: rabbit_data.ready_count(url, dead) == 6, "six dead letters")
    letters = sorted(letter.body for letter in rabbit_data.get(url, dead, 6))
    assert letters == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert rabbit_data.ready_count(url, queue) == 0


def test_what_a_broker_refuses_raises(url: str, queue: str) -> None:
    with pytest.raises(UnroutableError):
        rabbit_data.publish(url, queue)
    rabbit_data.declare(url, queue, max_length=1, arguments={"x-overflow": "reject-publish"})
    with pytest.raises(NackError):
        rabbit_data.publish(url, queue, 3)


def test_fetched_messages_are_requeued_or_gone(url: str, queue: str) -> None:
    rabbit_data.declare(url, queue)
    rabbit_data.publish(url, queue, 3)
    assert len(rabbit_data.get(url, queue, 2, "requeue")) == 2
    assert rabbit_data.ready_count(url, queue) == 3
    assert [found.attempts for found in rabbit_data.get(url, queue, 5, "auto_ack")] == [2, 2, 1]
    assert rabbit_data.ready_count(url, queue) == 0
    rabbit_data.publish(url, queue, 3)
    rabbit_data.purge(url, queue)
    assert rabbit_data.ready_count(url, queue) == 0
    rabbit_data.delete_queue(url, queue)


def test_a_consumer_keeps_its_rate_and_gives_back_what_it_holds(url: str, queue: str) -> None:
    rabbit_data.declare(url, queue)
    rabbit_data.publish(url, queue, 60)
    with RabbitConsumer(url, queue, rate=50, prefetch=20) as consumer:
        processed = consumer.wait_processed(26)
        consumer.rate = 0
        held = consumer.wait_held(20)
    seconds = processed[-1].processed_at - processed[0].processed_at
    assert seconds == pytest.approx(0.5, abs=0.3)  # twice as fast or slow would be wrong
    assert len(held) == 20
    assert rabbit_data.ready_count(url, queue) == 60 - len(consumer.processed)


def test_a_consumer_requeues_and_rejects(url: str, queue: str) -> None:
    rabbit_data.declare(url, queue)
    rabbit_data.publish(url, queue, 2, body=lambda i: b"%d" % i)
    with RabbitConsumer(
        url,
        queue,
        outcome=lambda it: (
            "reject" if it.body == b"1" else "finish" if it.attempts > 1 else "requeue"
        ),
    ) as consumer:
        processed = consumer.wait_processed(3)
    assert sorted((each.body, each.attempts, each.outcome) for each in processed) == [
        (b"0", 1, "requeue"),
        (b"0", 2, "finish"),
        (b"1", 1, "reject"),
    ]


def test_what_a_consumer_fails_by_is_raised_where_it_is_used(
    rabbitmq: RabbitCluster, url: str, queue: str
) -> None:
    rabbit_data.declare(url, queue)

    def fail(_: object) -> Any:
        raise ArithmeticError("as told")

    consumer = RabbitConsumer(url, queue, outcome=fail)
    rabbit_data.publish(url, queue)
    with pytest.raises(ArithmeticError), consumer:
        consumer.wait_processed(1)
    assert rabbit_data.ready_count(url, queue) == 1


def test_statistics_show(rabbitmq: RabbitCluster, url: str, queue: str) -> None:
    rabbit_data.declare(url, queue, "quorum")
    rabbit_data.publish(url, queue, 10, timestamp_seconds=lambda i: 1_700_000_000 + i)
    rabbit_data.get(url, queue, 4)

    def figures() -> Any:
        found = shown(rabbitmq, queue)
        counts = found.get("message_stats", {})
        return found.get("messages"), counts.get("publish"), counts.get("ack")

    wait_until(lambda: figures() == (6, 10, 4), "the statistics")
    page = requests.get(
        f"{rabbitmq.prometheus_url()}/metrics/detailed?family=queue_coarse_metrics", timeout=10
    )
    assert f'rabbitmq_detailed_queue_messages{{vhost="/",queue="{queue}"}} 6' in page.text


def test_tls_listeners_show_a_certificate_of_the_clusters_own_authority(
    rabbitmq: RabbitCluster, queue: str
) -> None:
    secure = rabbitmq.amqp_url(tls=True)
    rabbit_data.declare(rabbitmq.amqp_url(), queue)
    rabbit_data.publish(secure, queue, ca_file=rabbitmq.ca_file)
    assert rabbit_data.ready_count(rabbitmq.amqp_url(), queue) == 1
    overview = f"{rabbitmq.management_url(tls=True)}/api/overview"
    login = ("admin", password_of("admin"))
    answer = requests.get(overview, auth=login, verify=str(rabbitmq.ca_file), timeout=10)
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(overview, auth=login, timeout=10)


def test_the_restricted_user_gets_nothing_until_allowed(
    rabbitmq: RabbitCluster, url: str, queue: str
) -> None:
    rabbit_data.declare(url, queue)
    assert rabbitmq.api("GET", "queues", user="restricted") == []
    assert rabbitmq.api("GET", "overview", user="restricted")["object_totals"]["queues"] >= 1
    with pytest.raises(ProbableAccessDeniedError):
        BlockingConnection(rabbit_data.parameters(rabbitmq.amqp_url("restricted")))
    rabbitmq.allow("restricted", configure="^$", write="^$", read=".*")
    found = rabbitmq.api("GET", "queues", user="restricted")
    assert queue in {each["name"] for each in found}
    rabbitmq.disallow("restricted")
    assert rabbitmq.api("GET", "queues", user="restricted") == []


@pytest.mark.parametrize("vhost", ["with space/and slash", 'ünï cödé 🐇 %2F "quoted"'])
def test_vhosts_and_queues_have_any_name(rabbitmq: RabbitCluster, vhost: str) -> None:
    queue = f"queue of {vhost} {uuid4()}"  # RabbitMQ removes line ends from names
    rabbitmq.add_vhost(vhost)
    url = rabbitmq.amqp_url(vhost=vhost)
    rabbit_data.declare(url, queue)
    rabbit_data.publish(url, queue, 2)
    assert rabbit_data.ready_count(url, queue) == 2
    assert shown(rabbitmq, queue, vhost)["vhost"] == vhost
    rabbitmq.delete_vhost(vhost)
    assert vhost not in {each["name"] for each in rabbitmq.api("GET", "vhosts")}


def test_a_memory_alarm_blocks_publishers_until_it_ends(
    rabbitmq: RabbitCluster, url: str, queue: str
) -> None:
    rabbit_data.declare(url, queue)
    events: list[str] = []
    with rabbit_data.channel(url) as ch:
        connection: BlockingConnection = ch.connection
        connection.add_on_connection_blocked_callback(lambda *_: events.append("blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: events.append("unblocked"))

        def happened(event: str) -> bool:
            connection.process_data_events(time_limit=0.05)
            return event in events

        with rabbitmq.memory_alarm():
            ch.basic_publish("", queue, b"v")
            wait_until(lambda: happened("blocked"), "the publisher to be blocked", 10)
            assert rabbit_data.ready_count(url, queue) == 0
        wait_until(lambda: happened("unblocked"), "the publisher to be let on", 10)
    wait_until(lambda: rabbit_data.ready_count(url, queue) == 1, "the message", 10)


@pytest.fixture(scope="module")
def own() -> Iterator[RabbitCluster]:
    with RabbitCluster(plugins=["rabbitmq_management"], quick_statistics=True) as cluster:
        yield cluster


def test_a_killed_node_comes_back_with_its_durable_messages(own: RabbitCluster) -> None:
    kinds: tuple[QueueKind, ...] = ("classic", "quorum", "lazy")
    for kind in kinds:
        rabbit_data.declare(own.amqp_url(), kind, kind)
        rabbit_data.publish(own.amqp_url(), kind, 5)
        rabbit_data.publish(own.amqp_url(), kind, 5, persistent=False)
    rabbit_data.declare(own.amqp_url(), "transient", durable=False)
    time.sleep(2)  # there is no sign that a new quorum queue is on disk
    own.kill(0)
    with pytest.raises(requests.ConnectionError):
        own.api("GET", "overview")
    own.restart(0)
    kept = {"classic": 5, "quorum": 10, "lazy": 5}
    wait_until(
        lambda: {kind: rabbit_data.ready_count(own.amqp_url(), kind) for kind in kinds} == kept,
        "the durable messages",
        120,
    )
    assert "transient" not in {each["name"] for each in own.api("GET", "queues")}


def test_a_paused_node_answers_again_when_it_is_resumed(own: RabbitCluster) -> None:
    own.pause(0)
    with pytest.raises(requests.ReadTimeout):
        own.api("GET", "overview", timeout_seconds=0.5)
    own.resume(0)
    own.wait_node(0)
    rabbit_data.declare(own.amqp_url(), "after")


def test_two_nodes_are_one_cluster_survive_each_other_and_leave_nothing_behind() -> None:
    before = descendants()
    with RabbitCluster(nodes=2) as cluster:
        folder = cluster.log_file().parents[1]
        ports = {cluster.port(name, node) for name in PORTS for node in cluster.nodes}
        ports |= listening(descendants() - before)
        first, second = cluster.amqp_url(node=0), cluster.amqp_url(node=1)
        for node, url in enumerate((first, second)):
            rabbit_data.declare(url, f"on-{node}")
        rabbit_data.publish(second, "on-0", 3)
        assert rabbit_data.ready_count(first, "on-0") == 3
        names = {each["name"]: each["node"] for each in cluster.api("GET", "queues")}
        assert names == {"on-0": cluster.name(0), "on-1": cluster.name(1)}
        cluster.kill(1)
        wait_until(lambda: running(cluster, 0) == {cluster.name(0)}, "node 0 to be alone", 15)
        cluster.kill(0)
        cluster.restart_all()
        assert running(cluster, 1) == {cluster.name(0), cluster.name(1)}
        assert rabbit_data.ready_count(second, "on-0") == 3
    assert descendants() == before
    assert not any(str(folder) in environment_of(process) for process in psutil.process_iter())
    assert not folder.exists()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def listening(processes: set[psutil.Process]) -> set[int]:
    """The ports on which they listen."""
    return {
        connection.laddr.port
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def environment_of(process: psutil.Process) -> str:
    try:
        return str(process.environ())
    except psutil.Error:
        return ""


def running(cluster: RabbitCluster, node: int) -> set[str]:
    """Return the nodes that this node considers running."""
    return {each["name"] for each in cluster.api("GET", "nodes", node=node) if each["running"]}
