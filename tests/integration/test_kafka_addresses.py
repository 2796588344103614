"""Brokers with advertised addresses that lead nowhere, and listeners of another protocol."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_access import Listener
from testbed.kafka_data import commit_offsets, create_topic, produce
from testbed.waiting import wait_until
from tests.support.checking import check

RUNS = 3
"""Runs of `check`, because its process died in each of them."""


@dataclass
class Wrong:
    """A cluster whose listeners advertise wrong addresses.

    The addresses of `plaintext` are correct, and so are those of `mtls`, except that one broker has
    none.
    """

    cluster: KafkaCluster
    closed: str
    hole: str


def black_hole() -> tuple[socket.socket, list[socket.socket]]:
    """A port whose connections never succeed.

    Its queue is full, so the system drops requests for new connections.
    """
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(hole.getsockname())
        fillers.append(filler)
    return hole, fillers


@pytest.fixture(scope="module")
def wrong() -> Iterator[Wrong]:
    """Wrong addresses: `sasl` of brokers 1 and 2, `ssl` of broker 2, all of `sasl_ssl`.

    Broker 2 has no `mtls`.
    """
    hole, fillers = black_hole()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = f"127.0.0.1:{closed.getsockname()[1]}"
        swallowing = f"127.0.0.1:{hole.getsockname()[1]}"
        advertised: Mapping[int, Mapping[Listener, str]] = {
            0: {"sasl_ssl": "kafka-0..invalid:9092"},
            1: {"sasl": "kafka-1..invalid:9092", "sasl_ssl": "kafka-1..invalid:9092"},
            2: {"sasl": refusing, "ssl": swallowing, "sasl_ssl": refusing, "mtls": ""},
        }
        with KafkaCluster(advertised=advertised) as cluster:
            fill(cluster.bootstrap)
            yield Wrong(cluster, refusing, swallowing)
    for filler in fillers:
        filler.close()
    hole.close()


def fill(bootstrap: str) -> None:
    """A topic with two partitions on each broker, and groups of every coordinator."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    rows = [[number % 3] for number in range(6)]
    topic = NewTopic("orders", num_partitions=6, replica_assignment=rows)
    admin.create_topics([topic])["orders"].result(60)

    def is_led() -> bool:
        found = admin.list_topics(timeout=5).topics.get("orders")
        return found is not None and len(found.partitions) == 6

    wait_until(is_led, "the topic to be there")
    for partition in range(6):
        produce(bootstrap, "orders", partition, 10)
    for number in range(8):
        commit_offsets(bootstrap, f"g{number}", {("orders", p): 4 for p in range(6)})


def source(cluster: KafkaCluster, listener: Listener, **more: Any) -> dict[str, Any]:
    client = {key: str(value) for key, value in cluster.client_config(listener).items()}
    bootstrap = client.pop("bootstrap.servers")
    return kafka_source(bootstrap, listener, client=client, **more)


# The daemon


@pytest.fixture(scope="module")
def exporter(wrong: Wrong, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    listeners: tuple[Listener, ...] = ("sasl", "ssl", "sasl_ssl", "mtls")
    sources = [source(wrong.cluster, listener, deadline="8s") for listener in listeners]
    with Exporter(tmp_path_factory.mktemp("addresses"), sources) as exporter:
        yield exporter


def status(exporter: Exporter, name: str) -> dict[str, Any]:
    rows = exporter.get("/api/v1/subscriptions").json()["sources"]
    found: dict[str, Any] = next(row for row in rows if row["source"] == name)
    return found


def told(exporter: Exporter, name: str, *words: str) -> dict[str, Any]:
    """Return the status of a source once its message contains these words."""

    def look() -> dict[str, Any] | None:
        found = status(exporter, name)
        return found if all(word in found["message"] for word in words) else None

    try:
        found = wait_until(look, f"{words} in the message of {name}", 120, 0.2)
    except TimeoutError:
        assert [word for word in words if word not in status(exporter, name)["message"]] == []
        raise
    assert found is not None
    return found


def nodes(page: Scrape, name: str) -> dict[str, float]:
    return {dict(k)["node"]: up for k, up in page.find("mq_node_up", source=name).items()}


def no_talk_of_rights(message: str) -> bool:
    return not re.search(r"Describe|bootstrap_servers|give the user", message)


def test_some_addresses_that_lead_nowhere(exporter: Exporter, wrong: Wrong) -> None:
    found = told(
        exporter,
        "sasl",
        "kafka-1..invalid:9092 (the name does not resolve)",
        f"{wrong.closed} (connection refused)",
        "advertised.listeners",
    )
    assert (found["up"], found["reason"]) == (True, "partial")
    assert no_talk_of_rights(found["message"]), found["message"]
    own = wrong.cluster.address(0, "sasl")
    page = exporter.wait(lambda page: nodes(page, "sasl"), "the nodes")
    assert nodes(page, "sasl") == {own: 1, "kafka-1..invalid:9092": 0, wrong.closed: 0}
    page = exporter.wait(lambda page: page.lags("sasl"), "what can be read")
    assert {key[2] for key in page.lags("sasl")} == {0, 3}
    assert set(page.lags("sasl").values()) == {6}


def test_an_address_that_swallows_connections(exporter: Exporter, wrong: Wrong) -> None:
    found = told(exporter, "ssl", f"{wrong.hole} (no connection in time)", "advertised.listeners")
    assert found["up"] is True
    assert no_talk_of_rights(found["message"]), found["message"]


def test_no_address_that_can_be_reached_is_a_source_that_is_down(
    exporter: Exporter, wrong: Wrong
) -> None:
    words = ("kafka-0..invalid:9092", "kafka-1..invalid:9092", wrong.closed, "advertised.listeners")
    found = told(exporter, "sasl_ssl", *words)
    assert (found["up"], found["reason"]) == (False, "unreachable")
    assert no_talk_of_rights(found["message"]), found["message"]
    page = exporter.scrape()
    assert page.value("mq_up", source="sasl_ssl") == 0
    assert set(nodes(page, "sasl_ssl").values()) <= {0}
    assert page.lags("sasl_ssl") == {}
    failures = page.find("mq_collect_failures_total", source="sasl_ssl", task="backlog")
    reasons = {dict(k)["reason"] for k, count in failures.items() if count}
    # A resolver that is slow for once makes a run time out before the reason is known.
    assert reasons - {"timeout"} == {"unreachable"}


def test_a_leader_without_our_listener_is_not_called_missing(exporter: Exporter) -> None:
    found = told(exporter, "mtls", "listener", "advertised.listeners")
    assert "no leader" not in found["message"]
    page = exporter.wait(lambda page: page.lags("mtls"), "what can be read")
    assert {key[2] for key in page.lags("mtls")} == {0, 1, 3, 4}


def test_a_broker_that_refuses_connections_is_not_flooded_with_them(
    exporter: Exporter, wrong: Wrong
) -> None:
    """librdkafka tried thousands of times a second while a request waited for the broker."""
    told(exporter, "sasl", wrong.closed)
    before, seconds = refused_connections(), 10.0
    time.sleep(seconds)
    assert refused_connections() - before < 100 * seconds


def refused_connections() -> int:
    """TCP connections of all processes that failed to open."""
    names, values = (
        line.split()[1:]
        for line in Path("/proc/net/snmp").read_text().splitlines()
        if line.startswith("Tcp:")
    )
    return int(values[names.index("AttemptFails")])


# check


def test_check_names_the_addresses_and_fails_where_half_cannot_be_read(
    wrong: Wrong, tmp_path: Path
) -> None:
    printed = check(tmp_path, source(wrong.cluster, "sasl", deadline="8s"))
    assert printed.findings["connection"][0] == "ok"
    mark, detail = printed.findings["brokers"]
    assert mark == "missing"
    for words in ("kafka-1..invalid:9092 (the name does not resolve)", "advertised.listeners"):
        assert words in detail
    mark, detail = printed.findings["log ends (lag)"]
    assert mark == "missing"
    assert "4 of 6 partitions" in detail
    text = json.dumps(printed.findings)
    assert "-1001" not in text
    assert "give the user" not in text
    assert (printed.code, printed.errors) == (1, "")


def test_check_passes_where_a_small_part_cannot_be_read_and_says_which(
    wrong: Wrong, tmp_path: Path
) -> None:
    printed = check(tmp_path, source(wrong.cluster, "mtls"))
    mark, detail = printed.findings["log ends (lag)"]
    assert mark == "missing"
    assert "2 of 6 partitions" in detail
    assert "listener" in detail


@pytest.mark.parametrize("run", range(RUNS))
def test_check_survives_what_it_finds(wrong: Wrong, tmp_path: Path, run: int) -> None:
    """A request with no time left corrupted the library's memory."""
    listener: Listener = "sasl_ssl" if run % 2 else "sasl"
    printed = check(tmp_path, source(wrong.cluster, listener, deadline="8s"))
    assert (printed.code, printed.errors) == (1, ""), run
    if listener == "sasl_ssl":
        mark, detail = printed.findings["connection"]
        assert mark == "missing"
        assert "advertised.listeners" in detail


# A resolver that does not answer


def test_a_name_that_is_not_looked_up_in_time_costs_its_broker_only(
    wrong: Wrong, slow_resolver: Mapping[str, str], tmp_path: Path
) -> None:
    """librdkafka waits for a lookup when a client ends; the task must not."""
    sources = [source(wrong.cluster, "sasl", deadline="8s")]
    with Exporter(tmp_path, sources, environment=slow_resolver) as exporter:
        exporter.wait(lambda page: page.lags("sasl"), "what can be read")
        names = "kafka-1..invalid:9092 (no response in time)", wrong.closed, "advertised.listeners"
        assert told(exporter, "sasl", *names)["up"] is True
        page = exporter.wait(
            lambda page: (
                (page.value("mq_collect_failures_total", task="backlog", reason="partial") or 0) > 3
            ),
            "more runs",
        )
        assert {key[2] for key in page.lags("sasl")} == {0, 3}
        internal = page.find("mq_collect_failures_total", reason="internal")
        assert sum(internal.values()) == 0


def test_check_with_a_name_that_is_not_looked_up_in_time(
    wrong: Wrong, slow_resolver: Mapping[str, str], tmp_path: Path
) -> None:
    environment = {**os.environ, **slow_resolver}
    printed = check(tmp_path, source(wrong.cluster, "sasl", deadline="8s"), environment=environment)
    assert printed.findings["connection"][0] == "ok"
    mark, detail = printed.findings["brokers"]
    assert mark == "missing"
    assert "kafka-1..invalid:9092 (no response in time)" in detail
    assert printed.findings["ages"][0] == "ok"


# Other protocols than the config says


MISMATCHES = {
    "controller": ("controller", "does not serve clients"),
    "plain on tls": ("ssl", "expects TLS: set security.protocol"),
    "plain on login and tls": ("sasl_ssl", "expects TLS: set security.protocol"),
    "plain on login": ("sasl", "expects a login: set security.protocol"),
    "tls on plain": ("plaintext", "has no TLS: set security.protocol"),
    "login on plain": ("plaintext", "does not use a login: set security.protocol"),
    "login and tls on tls": ("ssl", "does not use a login: set security.protocol"),
}
"""The listener, and the advice that the message must contain."""


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_listener_of_another_protocol_is_recognized(
    wrong: Wrong, tmp_path: Path, name: str
) -> None:
    cluster = wrong.cluster
    listener, words = MISMATCHES[name]
    client: dict[str, str] = {}
    if name.startswith("tls"):
        client = {key: str(value) for key, value in cluster.client_config("ssl").items()}
    elif name.startswith("login and tls"):
        client = {key: str(value) for key, value in cluster.client_config("sasl_ssl").items()}
    elif name.startswith("login"):
        client = {key: str(value) for key, value in cluster.client_config("sasl").items()}
    client.pop("bootstrap.servers", None)
    address = cluster.any_address(0, listener)
    printed = check(tmp_path, kafka_source(address, "mismatch", client=client))
    assert list(printed.findings) == ["connection"]
    mark, detail = printed.findings["connection"]
    assert mark == "missing"
    assert words in detail
    assert (printed.code, printed.errors) == (1, "")


def test_an_address_that_takes_connections_and_never_answers_leaves_the_source_down(
    tmp_path: Path,
) -> None:
    """A load balancer without a broker. Nothing can be read, whatever the library's error is."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with KafkaCluster(brokers=1, advertised={0: {"sasl_ssl": address}}) as cluster:
            commit_one(cluster.bootstrap)
            row = source(cluster, "sasl_ssl", deadline="3s")
            with Exporter(tmp_path, [row], defaults={"schedule": {"backlog": "1s"}}) as exporter:
                runs = "mq_collect_failures_total"
                seen: set[float | None] = set()

                def failed_often(page: Scrape) -> bool:
                    seen.add(page.value("mq_up"))
                    return sum(page.find(runs, task="backlog").values()) >= 5

                exporter.wait(failed_often, "five failed looks")
                assert seen == {0.0}
                page = exporter.scrape()
                assert set(page.find("mq_node_up").values()) <= {0.0}
                assert page.find("mq_lag_messages") == {}


def commit_one(bootstrap: str) -> None:
    """A group with a lag of one on the topic `one`."""
    create_topic(bootstrap, "one")
    produce(bootstrap, "one", 0, 2)
    commit_offsets(bootstrap, "g", {("one", 0): 1})
