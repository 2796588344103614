"""The stack of docker-compose.yml without containers: all services run, and an alert arrives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from testbed.stack import Stack
from testbed.tools import ROOT
from testbed.waiting import wait_until

ALERT_SECONDS = 400.0
"""Meant are two minutes, on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    words: list[str] = []
    try:
        with Stack(words.append) as running:
            yield running
    finally:
        print("\n".join(words))  # noqa: T201 - pytest shows it with a failure


def query(stack: Stack, text: str) -> list[dict[str, Any]]:
    url = f"{stack.url('prometheus')}/api/v1/query"
    answer = requests.get(url, params={"query": text}, timeout=10)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


def test_everything_but_grafana_runs_and_is_healthy(stack: Stack) -> None:
    stack.wait_healthy()
    assert stack.left_out == ["grafana"]
    assert set(stack.children) == set(stack.services) - {"grafana"}


def test_all_three_systems_are_watched_by_their_probes_too(stack: Stack) -> None:
    def watched() -> bool:
        ups = {each["metric"]["source"] for each in query(stack, "mq_up == 1")}
        probes = {each["metric"]["source"] for each in query(stack, "mq_probe_success == 1")}
        return ups == probes == {"shop", "accounting", "website"}

    wait_until(watched, "all three sources in Prometheus", ALERT_SECONDS, poll_seconds=1)


@pytest.mark.parametrize("counter", ["mq_produced_messages_total", "mq_consumed_messages_total"])
def test_each_workload_is_seen_by_what_comes_and_what_goes(stack: Stack, counter: str) -> None:
    wanted = {("shop", "orders"), ("accounting", "invoices"), ("website", "clicks")}

    def moving() -> bool:
        found = query(stack, f"sum by (source, destination) (rate({counter}[1m])) > 1")
        pairs = {(each["metric"]["source"], each["metric"]["destination"]) for each in found}
        return wanted <= pairs

    wait_until(moving, f"rates of {counter}", ALERT_SECONDS, poll_seconds=1)


def test_an_alert_reaches_alertmanager_and_the_inbox(stack: Stack) -> None:
    def alerts() -> list[dict[str, Any]]:
        answer = requests.get(f"{stack.url('alertmanager')}/api/v2/alerts", timeout=10)
        answer.raise_for_status()
        return [each["labels"] for each in answer.json()]

    def near() -> bool:
        return any(
            each["alertname"] == "MqRetentionNear"
            and (each["source"], each["destination"], each["group"])
            == ("shop", "orders", "billing")
            for each in alerts()
        )

    wait_until(near, "MqRetentionNear at Alertmanager", ALERT_SECONDS, poll_seconds=1)
    wait_until(
        lambda: "billing on orders (shop): unread messages will be deleted" in stack.log("inbox"),
        "a notification in the inbox",
        ALERT_SECONDS,
        poll_seconds=1,
    )
    assert not stack.ended()


def test_the_pages_show_who_is_behind(stack: Stack) -> None:
    page = requests.get(f"{stack.url('exporter')}/", timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    answer = requests.get(
        f"{stack.url('exporter')}/api/v1/subscriptions", params={"filter": "billing"}, timeout=10
    ).json()
    (billing,) = answer["subscriptions"]
    assert billing["lag_messages"] > 0
    assert requests.get(f"{stack.url('rabbitmq')}/", timeout=10).ok


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files, with a short path."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_make_stack_ends_with_all_that_it_started(temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, ROOT / "scripts/stack.py"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("An alert fires"):
                break
        assert list(temporary.glob("mq-lag-exporter-stack-*"))
        told = "".join(lines)
        for address in re.findall(r"^http://\S+", told, re.MULTILINE):
            assert requests.get(address, timeout=10).ok, address
        for _ in range(3):  # an impatient user
            process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 0, told
    assert "grafana: not here" in told
    assert "the exporter's page" in told
    assert list(temporary.glob("mq-lag-exporter-stack-*")) == []
