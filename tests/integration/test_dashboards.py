"""Every query of every dashboard on a real Prometheus, with the daemon and real brokers behind it: it has something to show."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from testbed import nsq_data, rabbit_data
from testbed.alerting import Alerting
from testbed.background import Repeated
from testbed.consuming import Delivery, Outcome
from testbed.exporter import kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic
from testbed.kafka_load import Feed, Reader
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until
from tests.integration.test_alerting import alerting_exporter

FOLDER = Path(__file__).parent.parent.parent / "dashboards"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
MOST_SERIES = 200
MANY = 230
"""Groups, more than a picture may have."""
CLUSTERS = ("east", "west")
"""Prometheus scrapes the exporter once for each, as if both had sources of the same names."""
EVERYTHING = dict.fromkeys(
    ("cluster", "namespace", "system", "source", "vhost", "destination", "group", "node"), ".*"
)
ONE = {"cluster": CLUSTERS[0], "namespace": "", "vhost": "", "group": ""}
ONE_BY_ONE = (
    {**ONE, "system": "kafka", "source": "shop", "destination": "orders", "group": "billing"},
    {**ONE, "system": "rabbitmq", "source": "jobs", "vhost": "/", "destination": "mails"},
    {**ONE, "system": "nsq", "source": "events", "destination": "clicks", "group": "archive"},
)
"""What the dashboard of one subscription is looked at with: each query has to show something of one of them."""
SCALING = {
    "cooldown_out": "2s",
    "inputs": [
        {
            "prometheus": "http://127.0.0.1:9",
            "query": "vector(1)",
            "target": 1,
            "weight": 0.1,
            "interval": "1s",
        }
    ],
}
"""Advice for every subscription. Nobody answers the query, so it fails."""
NEEDS_MORE = {
    "Partitions without a committed offset",
    "Nearest to deletion of unread messages",
    "Next loss in",
    "Open transactions",
    "Invalid positions",
    "Deleted before it is read in",
    "Deleted unread in",
    "Removed while lagging",
    "Will be deleted before they are read",
    "Failing tasks",
    "Failures within 10 minutes, by reason",
    "Not readable",
}
"""Panels that show what has gone wrong, which nothing here does; their queries have to be answered all the same. So has that
for lags that are upper bounds, which transactions and compaction make."""


SPARSE = re.compile("mq_lag_upper_bound|mq_unreadable_partitions|mq_past_end_messages")
"""Metrics that are exposed only in a state that nothing here is in, beside others in their panels."""


@dataclass
class Asked:
    """A query as Grafana would send it."""

    board: str
    panel: str
    expr: str
    instant: bool
    legend: str
    columns: Sequence[str]
    """What of a series a table shows."""
    variables: Sequence[Mapping[str, str]]

    def texts(self) -> Iterator[str]:
        for chosen in self.variables:
            text = self.expr.replace("$__rate_interval", "15s").replace("$__range", "10m")
            yield re.sub(r"\$(\w+)", lambda match: chosen.get(match[1], ".*"), text)  # noqa: B023 - used at once


def columns_of(panel: Mapping[str, Any]) -> Sequence[str]:
    if panel["type"] != "table":
        return ()
    return list(panel["transformations"][-1]["options"]["indexByName"])


def queries() -> list[Asked]:
    found = []
    for uid, board in BOARDS.items():
        chosen: Sequence[Mapping[str, str]] = (
            ONE_BY_ONE if uid == "mq-subscription" else (EVERYTHING,)
        )
        found += [
            Asked(
                uid,
                panel["title"],
                target["expr"],
                bool(target.get("instant")),
                target.get("legendFormat", ""),
                columns_of(panel),
                chosen,
            )
            for top in board["panels"]
            for panel in (top, *top.get("panels", ()))
            for target in panel.get("targets", ())
        ]
    return found


def load(stack: ExitStack, kafka: KafkaCluster, rabbit: RabbitCluster, nsq: NsqCluster) -> None:
    """Readers that are too slow, on all three systems, some deliveries that are repeats, and a great many others."""
    servers = kafka.bootstrap
    create_topic(servers, "orders", 4, 1)
    stack.enter_context(Feed(servers, "orders", 200.0))
    stack.enter_context(Reader(servers, "billing", "orders", 40.0))
    for index in range(MANY):
        commit_offsets(servers, f"group-{index}", {("orders", 0): 0})

    url = rabbit.amqp_url()
    rabbit_data.declare(url, "mails")
    rabbit_data.declare(url, "unread")
    rabbit_data.publish(url, "unread", 5)

    def fails_at_first(delivery: Delivery) -> Outcome:
        return "finish" if delivery.attempts > 1 else "requeue"

    stack.enter_context(rabbit_data.RabbitConsumer(url, "mails", 20.0, outcome=fails_at_first))
    stack.enter_context(Repeated(1.0, lambda: rabbit_data.publish(url, "mails", 30)))

    address = nsq.http_url()
    nsq_data.create_topic(address, "clicks")
    nsq_data.create_channel(address, "clicks", "archive")
    stack.enter_context(nsq_data.NsqConsumer(nsq.tcp_address(), "clicks", "archive", 60.0))
    nsq_data.publish_all(address, "clicks", [b"x"] * 6_000)
    nsq_data.create_channel(address, "clicks", "frozen")
    nsq_data.pause(address, "clicks", "frozen")  # its advice is held
    nsq_data.create_topic(address, "unheard")
    nsq_data.publish(address, "unheard")

    def publish() -> None:
        nsq_data.publish_all(address, "clicks", [b"x"] * 10)
        nsq_data.publish(address, "clicks", defer_ms=30_000)

    stack.enter_context(Repeated(0.5, publish))


@pytest.fixture(scope="module")
def prometheus(
    rabbitmq: RabbitCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Alerting]:
    folder = tmp_path_factory.mktemp("dashboards")
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster(1))
        nsq = stack.enter_context(NsqCluster(nsqds=1, lookupds=1))
        load(stack, kafka, rabbitmq, nsq)
        sources = [
            kafka_source(kafka.bootstrap, "shop"),
            rabbit_source(rabbitmq, "jobs"),
            nsq_source(nsq, "events"),
        ]
        exporter = stack.enter_context(alerting_exporter(folder, sources, scaling=[SCALING]))
        yield stack.enter_context(Alerting(folder, f"127.0.0.1:{exporter.port}", clusters=CLUSTERS))


def shown(prometheus: Alerting, asked: Asked, text: str) -> list[Any]:
    """The series that Grafana would draw."""
    now = time.time()
    kind, more = "query", {"query": text, "time": str(now)}
    if not asked.instant:
        span = {"start": str(now - 40), "end": str(now), "step": "2"}
        kind, more = "query_range", {"query": text, **span}
    answer = requests.get(f"{prometheus.prometheus_url}/api/v1/{kind}", more, timeout=60)
    assert answer.ok, (asked.board, asked.panel, answer.text)
    found: list[Any] = answer.json()["data"]["result"]
    return found


def name_of(asked: Asked, labels: Mapping[str, str]) -> str:
    """What tells a series from the others of its panel: its legend, or the columns of its row."""
    if asked.columns:
        return str([labels.get(name, "") for name in asked.columns])
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), asked.legend)


def test_every_query_shows_something_and_none_too_much(prometheus: Alerting) -> None:
    missing = dict(enumerate(queries()))

    def look() -> bool:
        for index, asked in list(missing.items()):
            series = [shown(prometheus, asked, text) for text in asked.texts()]
            assert max(map(len, series)) <= MOST_SERIES, (asked.board, asked.panel)
            for found in series:
                names = [name_of(asked, each["metric"]) for each in found]
                assert len(set(names)) == len(names), (asked.board, asked.panel, names)
            if any(series) or asked.panel in NEEDS_MORE or SPARSE.search(asked.expr):
                del missing[index]
        return not missing

    try:
        wait_until(look, "every query to have an answer", 240, poll_seconds=3)
    except TimeoutError:
        assert [(asked.board, asked.panel, asked.expr) for asked in missing.values()] == []


def test_every_variable_has_something_to_choose(prometheus: Alerting) -> None:
    for uid, board in BOARDS.items():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query" or variable["name"] == "namespace":
                continue
            query = variable["query"]["query"]
            found = re.fullmatch(r"label_values\((.*),(\w+)\)", query)
            assert found is not None, query
            chosen = dict(ONE_BY_ONE[1] if variable["name"] == "vhost" else ONE_BY_ONE[0])
            chosen = {**EVERYTHING, **chosen} if uid == "mq-subscription" else EVERYTHING
            selector = re.sub(r"\$(\w+)", lambda match: chosen[match[1]], found[1])  # noqa: B023 - used at once

            def values(selector: str = selector, label: str = found[2]) -> list[str]:
                answer = requests.get(
                    f"{prometheus.prometheus_url}/api/v1/label/{label}/values",
                    {"match[]": selector},
                    timeout=60,
                )
                assert answer.ok, answer.text
                data: list[str] = answer.json()["data"]
                return data

            wait_until(values, f"values of {variable['name']} on {uid}", 120)
