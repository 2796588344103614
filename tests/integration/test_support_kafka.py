"""The tests' own Kafka clusters do what the other tests rely on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from testbed import kafka_data
from testbed.children import is_alive
from testbed.kafka import KafkaCluster
from testbed.kafka_access import Listener, Mechanism
from testbed.waiting import wait_until

Config = Mapping[str, str | int | float | bool]


@pytest.fixture
def topic(local_kafka: KafkaCluster) -> str:
    name = f"support-{uuid4()}"
    kafka_data.create_topic(local_kafka.bootstrap, name, partitions=3, replication=3)
    return name


def round_trip(client: Config, topic: str, value: bytes) -> bytes | None:
    """Writes one record to partition 0 and reads it back, both over this client's listener."""
    delivered: list[KafkaError | None] = []
    producer = Producer({**client, "log_level": 0})
    producer.produce(
        topic, value, partition=0, on_delivery=lambda error, _: delivered.append(error)
    )
    producer.flush(30)
    assert delivered == [None]
    consumer = Consumer({**client, "group.id": "unused", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.error() is None
    return message.value()


def login_error(client: Config) -> int | None:
    """Return the code of the first error that a client reports; None if it gets in."""
    errors: list[KafkaError] = []
    admin = AdminClient({**client, "log_level": 0, "error_cb": errors.append})  # type: ignore[dict-item]

    def outcome() -> bool:
        try:
            admin.list_topics(timeout=1)
        except KafkaException:
            admin.poll(0)
            return any(error.code() != KafkaError._ALL_BROKERS_DOWN for error in errors)
        return True

    wait_until(outcome, "a login or its refusal")
    return errors[0].code() if errors else None


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [
        ("plaintext", "PLAIN"),
        ("ssl", "PLAIN"),
        ("mtls", "PLAIN"),
        ("sasl", "PLAIN"),
        ("sasl", "SCRAM-SHA-512"),
        ("sasl", "OAUTHBEARER"),
        ("sasl_ssl", "PLAIN"),
        ("sasl_ssl", "SCRAM-SHA-512"),
        ("sasl_ssl", "OAUTHBEARER"),
    ],
)
def test_admin_writes_and_reads_over_every_listener(
    local_kafka: KafkaCluster, topic: str, listener: Listener, mechanism: Mechanism
) -> None:
    if mechanism == "SCRAM-SHA-512":
        local_kafka.add_user("admin")
    client = local_kafka.client_config(listener, "admin", mechanism=mechanism)
    assert round_trip(client, topic, b"hello") == b"hello"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_refused(local_kafka: KafkaCluster, mechanism: Mechanism) -> None:
    local_kafka.add_user("alice")
    wrong = local_kafka.client_config("sasl", "alice", "wrong", mechanism)
    assert login_error(wrong) == KafkaError._AUTHENTICATION
    right = local_kafka.client_config("sasl", "alice", mechanism=mechanism)
    assert login_error(right) is None


def test_the_mtls_listener_demands_the_client_certificate(local_kafka: KafkaCluster) -> None:
    with_certificate = local_kafka.client_config("mtls")
    assert login_error(with_certificate) is None
    without = {**local_kafka.client_config("ssl"), "bootstrap.servers": local_kafka.mtls_bootstrap}
    assert login_error(without) is not None


def test_a_user_without_acls_is_refused_until_allowed(
    local_kafka: KafkaCluster, topic: str
) -> None:
    client = AdminClient({**local_kafka.client_config("sasl", "bob"), "log_level": 0})

    def error_of_topic() -> int | None:
        error = client.list_topics(topic, timeout=10).topics[topic].error
        return error.code() if error else None

    assert error_of_topic() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    local_kafka.allow("bob", ["describe"], "topic", topic)
    wait_until(lambda: error_of_topic() is None, "the ACL to apply")


def test_offsets_are_those_that_were_made(local_kafka: KafkaCluster) -> None:
    topic, group = f"support-{uuid4()}", f"group-{uuid4()}"
    at = (topic, 1)
    bootstrap = local_kafka.bootstrap
    kafka_data.create_topic(bootstrap, topic, partitions=2)
    assert kafka_data.produce(bootstrap, topic, 1, 10) == list(range(10))
    kafka_data.produce_transaction(bootstrap, topic, 1, 2)
    kafka_data.produce_transaction(bootstrap, topic, 1, 2, commit=False)
    with kafka_data.transaction(bootstrap) as producer:
        kafka_data.produce_in(producer, topic, 1, 5)
        ends = (
            kafka_data.end_offsets(bootstrap, [at]),
            kafka_data.end_offsets(bootstrap, [at], committed_only=True),
        )
    assert ends == ({at: 21}, {at: 16})
    kafka_data.commit_offsets(bootstrap, group, {at: 7})
    assert kafka_data.committed_offsets(bootstrap, group) == {at: 7}
    kafka_data.delete_records(bootstrap, {at: 9})
    assert kafka_data.start_offsets(bootstrap, [at]) == {at: 9}
    kafka_data.delete_group(bootstrap, group)
    kafka_data.delete_topic(bootstrap, topic)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_groups_of_both_protocols_consume(
    local_kafka: KafkaCluster, topic: str, protocol: str
) -> None:
    kafka_data.produce(local_kafka.bootstrap, topic, n=3)
    consumer = Consumer(
        {
            "bootstrap.servers": local_kafka.bootstrap,
            "group.id": f"group-{uuid4()}",
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    messages = consumer.consume(3, timeout=30)
    assert [message.error() for message in messages] == [None] * 3
    consumer.close()


def test_compaction_acts_soon(local_kafka: KafkaCluster) -> None:
    topic = f"support-{uuid4()}"
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    kafka_data.create_topic(local_kafka.bootstrap, topic, config=config)
    kafka_data.produce(local_kafka.bootstrap, topic, n=100, key=b"k")

    def first_offset() -> int | None:
        kafka_data.produce(
            local_kafka.bootstrap, topic, key=b"other"
        )  # a new segment, so that the last can be compacted
        consumer = Consumer({"bootstrap.servers": local_kafka.bootstrap, "group.id": "unused"})
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(10)
        consumer.close()
        return message.offset() if message else None

    wait_until(lambda: (first_offset() or 0) >= 99, "the first 99 records to be compacted away")


def test_a_killed_broker_leaves_the_cluster_usable_and_comes_back_with_its_data(
    own_kafka: KafkaCluster,
) -> None:
    bootstrap, at = own_kafka.bootstrap, ("orders", 0)
    kafka_data.create_topic(bootstrap, "orders", replication=3)
    kafka_data.produce(bootstrap, "orders", n=5)
    kafka_data.commit_offsets(bootstrap, "billing", {at: 2})
    for broker_id in own_kafka.broker_ids:
        own_kafka.wait_in_sync()
        own_kafka.kill(broker_id)
        own_kafka.wait_fenced(broker_id)
        kafka_data.produce(bootstrap, "orders", n=5)
        kafka_data.commit_offsets(bootstrap, "billing", {at: 3 + broker_id})
        own_kafka.restart(broker_id)
    own_kafka.kill_all()
    own_kafka.restart_all()
    own_kafka.wait_in_sync()
    assert kafka_data.end_offsets(bootstrap, [at]) == {at: 20}
    assert kafka_data.committed_offsets(bootstrap, "billing") == {at: 5}


def test_a_paused_broker_answers_again_when_it_is_resumed(own_kafka: KafkaCluster) -> None:
    own_kafka.pause(0)
    # Made now: it must not learn the addresses of the others before
    client = AdminClient({"bootstrap.servers": own_kafka.address(0), "log_level": 0})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=2)
    own_kafka.wait_fenced(0)
    kafka_data.create_topic(
        ",".join(map(own_kafka.address, (1, 2))), "orders", partitions=2, replication=2
    )
    own_kafka.resume(0)
    own_kafka.wait_broker(0)
    wait_until(lambda: "orders" in client.list_topics(timeout=30).topics, "the topic")


def test_brokers_die_with_the_test_run_even_when_paused(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from testbed.children import Child\n"
        "from pathlib import Path\n"
        "children = [Child(['sleep', '1000'], Path(sys.argv[1])) for _ in range(2)]\n"
        "children[1].pause()\n"
        "print(*(child.pid for child in children), flush=True)\n"
        "time.sleep(1000)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout
    pids = [int(pid) for pid in run.stdout.readline().split()]
    assert all(is_alive(pid) for pid in pids)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    wait_until(lambda: not any(map(is_alive, pids)), "both children to be gone")


def test_two_clusters_run_side_by_side(local_kafka: KafkaCluster) -> None:
    with KafkaCluster(brokers=1) as other:
        name = f"support-{uuid4()}"
        kafka_data.create_topic(other.bootstrap, name)
        client = kafka_data.admin_client(local_kafka.bootstrap)
        assert name not in client.list_topics(timeout=10).topics
