"""Servers whose names cannot be looked up, because no name server answers.

The others must be read as usual. Kafka's tests are in test_kafka_addresses.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.exporter import Exporter, nsq_source, rabbit_source
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from tests.support.checking import check

WHY = "no name server answers in time for nsqd.invalid"


@pytest.fixture
def sources(nsq: NsqCluster, rabbitmq: RabbitCluster) -> list[dict[str, Any]]:
    """A source whose nsqd, nsqlookupd or first RabbitMQ node has such a name."""
    lookup, urls = nsq_source(nsq, "lookup"), rabbit_source(rabbitmq, "rabbit")
    lookup["nsqlookupd"] = ["http://lookup.invalid:4161", *lookup["nsqlookupd"]]
    urls["management_url"] = ["http://rabbit.invalid:15672", *urls["management_url"]]
    urls["amqp_url"] = ["amqp://rabbit.invalid", *urls["amqp_url"]]
    return [nsq_source(nsq, "nsqd", nsqd=["http://nsqd.invalid:4151"]), lookup, urls]


def message(exporter: Exporter, name: str) -> str:
    rows = exporter.get("/api/v1/subscriptions").json()["sources"]
    (found,) = (row["message"] for row in rows if row["source"] == name)
    return str(found)


def test_the_daemon(
    sources: list[dict[str, Any]], slow_resolver: Mapping[str, str], tmp_path: Path
) -> None:
    with Exporter(tmp_path, sources, environment=slow_resolver) as exporter:
        page = exporter.wait(
            lambda page: (
                all(page.value("mq_up", source=each["name"]) for each in sources)
                and page.value(
                    "mq_collect_failures_total", source="nsqd", task="discovery", reason="partial"
                )
                and page.value(
                    "mq_collect_failures_total", source="lookup", task="discovery", reason="partial"
                )
            ),
            "all to be up",
        )
        nodes = {dict(k)["node"]: up for k, up in page.find("mq_node_up", source="nsqd").items()}
        assert sorted(nodes.values()) == [0, 1, 1]
        assert nodes["nsqd.invalid:4151"] == 0
        exporter.wait(lambda _: WHY in message(exporter, "nsqd"), WHY)
        failures = page.find("mq_collect_failures_total")
        assert {dict(k)["reason"] for k, count in failures.items() if count} <= {"partial"}


def test_check(
    sources: list[dict[str, Any]], slow_resolver: Mapping[str, str], tmp_path: Path
) -> None:
    for source in sources:
        quick = {**source, "deadline": "4s"}
        checked = check(tmp_path, quick, environment={**os.environ, **slow_resolver})
        assert checked.findings["connection"][0] == "ok", source["name"]
        assert (WHY in checked.printed) == (source["name"] == "nsqd")
