"""Runs the alert rules on made-up series in promtool: which alerts fire when, with which texts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
RULES = [ROOT / "alerts" / "recording.yml", ROOT / "alerts" / "alerts.yml"]
INTERVAL = 30
"""Seconds between two scrapes and two evaluations."""
Value = float | str | None
Values = Callable[[float], Value]
"""Minute to value; None is a scrape without the series."""

JOB = 'job="mq-lag-exporter",instance="a:9877"'
SOURCE = f'{JOB},system="kafka",source="shop"'
SUBSCRIPTION = f'{SOURCE},destination="orders",group="billing"'
INF = "Inf"
TEXTS = {INF: "Inf"}


def always(value: Value) -> Values:
    return lambda _: value


def rising(per_second: float) -> Values:
    """A counter with a constant rate."""
    return lambda minute: round(per_second * minute * 60, 3)


def before(minute: float, first: Value | Values, second: Value | Values) -> Values:
    """One value or function before a minute, and another one from then on."""

    def value(now: float) -> Value:
        chosen = first if now < minute else second
        return chosen(now) if callable(chosen) else chosen

    return value


def gap(start: float, end: float, values: Values) -> Values:
    """No series between two minutes."""
    return lambda now: None if start <= now < end else values(now)


def healthy(labels: str = SUBSCRIPTION) -> dict[str, Values]:
    """A subscription that keeps up with 10 messages a second."""
    return {
        f'mq_lag_messages{{{labels},partition="0"}}': always(8),
        f'mq_lag_messages{{{labels},partition="1"}}': always(4),
        f'mq_lag_seconds{{{labels},partition="0"}}': always(0.5),
        f'mq_lag_seconds{{{labels},partition="1"}}': always(0.2),
        f"mq_commit_interval_seconds{{{labels}}}": always(5),
        f"mq_consumed_messages_total{{{labels}}}": rising(10),
        f"mq_subscription_produced_messages_total{{{labels}}}": rising(10),
        f"mq_consumers{{{labels}}}": always(2),
        f"mq_messages_lost_total{{{labels}}}": always(0),
        f"mq_offset_rewinds_total{{{labels}}}": always(0),
        f"mq_time_to_drain_seconds{{{labels}}}": always(3),
        f"mq_time_to_loss_seconds{{{labels}}}": always(INF),
        f'mq_subscription_status{{{labels},status="ok"}}': always(1),
        f'mq_subscription_status{{{labels},status="abandoned"}}': always(0),
        f"mq_threshold_lag_messages{{{labels}}}": always(1_000),
        f"mq_threshold_lag_seconds{{{labels}}}": always(5),
        f"mq_threshold_consume_ratio{{{labels}}}": always(1),
        f"mq_threshold_stop_seconds{{{labels}}}": always(300),
        f"mq_consumers_expected{{{labels}}}": always(1),
    }


def exporter(labels: str = SOURCE, job: str = JOB) -> dict[str, Values]:
    """The series about the source and the exporter."""
    probes = f'mq_probe_latency_seconds_bucket{{{labels},node="k1:9092",stage="receive"'
    return {
        f"mq_up{{{labels}}}": always(1),
        f"mq_exporter_build_info{{{job}}}": always(1),
        f"mq_config_last_reload_successful{{{job}}}": always(1),
        f'mq_probe_success{{{labels},node="k1:9092"}}': always(1),
        f"mq_threshold_probe_seconds{{{labels}}}": always(1),
        f'{probes},le="0.01"}}': rising(0.2),
        f'{probes},le="2.5"}}': rising(0.2),
        f'{probes},le="+Inf"}}': rising(0.2),
        f'mq_collect_last_success_timestamp_seconds{{{labels},task="backlog"}}': lambda minute: (
            minute * 60
        ),
        f'mq_collect_failures_total{{{labels},task="backlog",reason="timeout"}}': always(0),
        f"mq_series_dropped{{{labels}}}": always(0),
        f'mq_group_rebalances_total{{{labels},group="billing"}}': always(0),
    }


@dataclass
class Page:
    """Series over time, derived from healthy ones."""

    series: dict[str, Values] = field(default_factory=lambda: {**exporter(), **healthy()})

    def but(self, changes: Mapping[str, Value | Values]) -> Page:
        """Return a copy with changed values. A key is a metric's name or a prefix of a series."""
        made = dict(self.series)
        for key, values in changes.items():
            start = key if "{" in key else key + "{"
            wanted = [name for name in made if name.startswith(start)]
            course = values if callable(values) else always(values)
            for name in wanted or [key]:
                made[name] = course
        return Page(made)

    def without(self, *metrics: str) -> Page:
        """Return a copy without some metrics."""
        return Page({k: v for k, v in self.series.items() if k.partition("{")[0] not in metrics})

    def each(self, change: Callable[[Values], Values]) -> Page:
        """Return a copy with every series changed."""
        return Page({name: change(values) for name, values in self.series.items()})

    def beside(self, other: Page) -> Page:
        """Return the series of both, as from two exporters."""
        return Page({**self.series, **other.series})

    def of_instance(self, name: str) -> Page:
        return Page(
            {
                k.replace('instance="a:9877"', f'instance="{name}"'): v
                for k, v in self.series.items()
            }
        )


def expect(
    page: Page,
    expected: Mapping[float, Iterable[str]],
    folder: Path,
    name: str = "case",
    *,
    recorded_last: bool = False,
) -> None:
    """Assert which alerts fire at some minutes."""
    tests = [
        {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": _time(minute),
            "exp_samples": [
                {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)
            ],
        }
        for minute, alerts in expected.items()
    ]
    tests_of_alerts = {"promql_expr_test": tests}
    outcome = run(page, max(expected), tests_of_alerts, folder, recorded_last=recorded_last)
    assert outcome is None, f"{name}: {outcome}"


def run(
    page: Page,
    until: float,
    tests: Mapping[str, Any],
    folder: Path,
    *,
    recorded_last: bool = False,
) -> str | None:
    """Run tests of promtool up to a minute; return its output if they fail.

    `recorded_last` evaluates the alerts before the recording rules, as Prometheus may do it: each
    group has its own offset in the interval.
    """
    recording, alerts = ["mq-lag-exporter.recording"], [f"mq-lag-exporter.{s}" for s in SCOPES]
    steps = range(int(until * 60 / INTERVAL) + 2)
    test = {
        "interval": f"{INTERVAL}s",
        "input_series": [
            {
                "series": name,
                "values": " ".join(_text(values(step * INTERVAL / 60)) for step in steps),
            }
            for name, values in page.series.items()
        ],
        **tests,
    }
    file = folder / "test.yml"
    file.write_text(
        json.dumps(  # which is YAML
            {
                "rule_files": [str(path) for path in RULES],
                "evaluation_interval": f"{INTERVAL}s",
                "group_eval_order": alerts + recording if recorded_last else recording + alerts,
                "tests": [test],
            }
        )
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOGC": "400"},  # garbage collection takes a fifth of its time
    )
    return None if done.returncode == 0 else done.stdout + done.stderr


SCOPES = ("subscription", "group", "node", "source", "exporter")


def _time(minute: float) -> str:
    return f"{int(minute * 60)}s"


def _text(value: Value) -> str:
    return "_" if value is None else TEXTS.get(str(value), str(value))
