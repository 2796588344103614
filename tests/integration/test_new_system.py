"""A system is a folder, a config model and one row: two made-up systems, run as users would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.exporter import Exporter
from tests.support import rules

SOURCES = [
    {"name": "books", "system": "ledger", "address": "somewhere"},
    {"name": "yard", "system": "pile", "address": "somewhere"},
]
MODULE = "tests.support.toy"
DESTINATIONS = {"entries": 1_500, "apples": 1_500}


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    with Exporter(tmp_path_factory.mktemp("toy"), SOURCES, module=MODULE) as exporter:
        exporter.wait(lambda page: len(page.find("mq_lag_messages")) == 3, "all three places")
        yield exporter


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", MODULE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_run_shows_both(exporter: Exporter) -> None:
    page = exporter.cycles(1, source="books")
    assert page.lags("books") == {("readers", "entries", 0): 0, ("readers", "entries", 1): 1_500}
    labels = {"system": "pile", "source": "yard", "destination": "apples", "group": "eaters"}
    assert page.value("mq_lag_messages", **labels, partition="north") == 1_500
    assert page.value("mq_unacknowledged_messages", **labels) == 3
    assert page.value("mq_node_up", node="ledger-1") == page.value("mq_node_up", node="pile-1") == 1


def test_the_page_has_a_row_of_each(exporter: Exporter) -> None:
    assert "mq-lag-exporter" in exporter.get("/").text
    found = exporter.get("/api/v1/subscriptions?partitions=1").json()
    rows = {row["destination"]: row for row in found["subscriptions"]}
    assert {name: row["lag_messages"] for name, row in rows.items()} == DESTINATIONS
    assert [part["partition"] for part in rows["apples"]["partitions"]] == ["north"]


def test_the_alert_rules_fire_for_both(exporter: Exporter, tmp_path: Path) -> None:
    series = {}
    for (name, labels), value in exporter.scrape().series.items():
        text = ",".join(f'{key}="{label}"' for key, label in labels)
        series[f"{name}{{{rules.JOB},{text}}}"] = rules.always(value)
    firing = {
        "expr": 'count by (destination) (ALERTS{alertname="MqLagHigh",alertstate="firing"})',
        "eval_time": "30m",
        "exp_samples": [
            {"labels": f'{{destination="{name}"}}', "value": 1} for name in sorted(DESTINATIONS)
        ],
    }
    outcome = rules.run(rules.Page(series), 31, {"promql_expr_test": [firing]}, tmp_path)
    assert outcome is None, outcome


def test_once_prints_both(exporter: Exporter) -> None:
    done = command("once", "--config", str(exporter.config))
    assert done.returncode == 0, done.stderr
    assert 'destination="entries"' in done.stdout
    assert 'destination="apples"' in done.stdout


def test_check_tries_both(exporter: Exporter) -> None:
    done = command("check", str(exporter.config))
    assert done.returncode == 0, done.stderr
    assert "ledger answers" in done.stdout
    assert "pile answers" in done.stdout


def test_a_broker_that_does_not_answer_is_down(tmp_path: Path) -> None:
    dead = [{**source, "address": "dead"} for source in SOURCES]
    with Exporter(tmp_path, dead, module=MODULE) as exporter:
        page = exporter.wait(
            lambda page: page.value(
                "mq_collect_failures_total", source="yard", task="backlog", reason="unreachable"
            ),
            "a failure",
        )
        assert page.value("mq_up", source="yard") == 0
    done = command("check", str(exporter.config))
    assert done.returncode == 1
    assert "dead" in done.stdout


def test_an_unknown_system_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("sources: [{name: a, system: heap, address: b}]")
    done = command("check", str(file))
    assert done.returncode == 2
    for name in ("heap", "kafka", "rabbitmq", "nsq", "ledger", "pile"):
        assert name in done.stderr
