"""Histograms with classic buckets: what is counted where, and what parsers read."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.analysis.families import INFINITY, Family
from exporter.analysis.histogram import Histogram
from exporter.analysis.logs.time_series import show_times
from exporter.analysis.probe_results import ProbeState
from exporter.catalogue import BY_NAME, LATENCY_BUCKETS
from exporter.model import STAGES, LogTimes, NodeProbe, Probes, Retention, Stamps
from exporter.show.exposition import Exposition, labeler
from tests.support.observations import VIEW, log, log_backlog, state

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
LABEL = labeler({"source": "s"})
HOSTILE = 'a"b\\c\nd{le="1"} 🙂'


def histogram(*values: float, bounds: Iterable[float] = (1.0, 5.0)) -> Histogram:
    found = Histogram(tuple(bounds), LABEL, {"group": "g"})
    for value in values:
        found.observe(value)
    return found


def test_a_bucket_holds_what_is_not_above_its_bound() -> None:
    found = histogram(0.0, 1.0, 1.001, 5.0, 5.001, 1e9)
    assert found.values() == [2, 4, 6, 6, pytest.approx(1e9 + 12.002)]


def test_nothing_observed_is_zero_everywhere() -> None:
    assert histogram().values() == [0, 0, 0, 0, 0.0]


def test_its_series_are_its_buckets_its_count_and_its_sum() -> None:
    assert histogram().labels == [
        '_bucket{source="s",group="g",le="1.0"} ',
        '_bucket{source="s",group="g",le="5.0"} ',
        '_bucket{source="s",group="g",le="+Inf"} ',
        '_count{source="s",group="g"} ',
        '_sum{source="s",group="g"} ',
    ]


@given(st.lists(st.floats(0.0, 100_000.0), max_size=30))
def test_the_counts_are_those_of_the_values(values: list[float]) -> None:
    *cumulated, count, total = histogram(*values, bounds=LATENCY_BUCKETS).values()
    assert cumulated == [
        sum(value <= bound for value in values) for bound in (*LATENCY_BUCKETS, math.inf)
    ]
    assert count == len(values)
    assert total == pytest.approx(sum(values), abs=1e-6)


def test_every_histogram_of_the_catalogue_has_ascending_buckets_and_nothing_else_has_any() -> None:
    for metric in BY_NAME.values():
        assert (metric.kind == "histogram") == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert math.inf not in metric.buckets


# The exposition


def page() -> Exposition:
    """An exposition of three subscriptions, two with a histogram, and probes of two nodes."""
    s = state()
    commits = {group: {"t": {0: 4}} for group in ("g", HOSTILE, "i")}
    s.observe(log_backlog({"t": log((0, 10))}, commits), 0.0)
    s.set_retention({"t": Retention(None, None)})
    stamps = Stamps([0], [91.5], [0.25], "time_index")
    latencies = {("g", "t"): [0.5, 7.0], (HOSTILE, "t"): [1e6]}
    seen = LogTimes(100.0, {("g", "t"): stamps}, latencies, {"t": (2, 300)}, {"future": 3})
    s.observe_times(seen, 0.0, 120.0)
    for sub in s.subscriptions.values():
        sub.shown = True
    probes = ProbeState(labeler({"system": "kafka", "source": "s"}))
    probes.observe(
        Probes(
            [
                NodeProbe("k1:9092", sent=True, publish=0.001, receive=0.02, ack=None),
                NodeProbe(HOSTILE, sent=True, publish=None, receive=None, ack=None),
            ]
        ),
        0.0,
    )
    made = Exposition(lambda _: b"")
    made.update("s", show_times(s, VIEW))
    made.update("s\nprobes", probes.families())
    return made


def text(accept: str) -> str:
    return b"".join(page().response(accept, "").content()).decode()


@pytest.fixture(params=["text", "openmetrics"])
def families(request: pytest.FixtureRequest) -> dict[str, Metric]:
    """The exposition as one of the two parsers reads it, by metric."""
    parse: Callable[[str], Iterable[Metric]] = parse_text
    accept = ""
    if request.param == "openmetrics":
        parse, accept = parse_openmetrics, OPENMETRICS
    found = list(parse(text(accept)))
    named = {metric.name: metric for metric in found}
    assert len(named) == len(found), "each metric is one group of lines"
    return named


def test_every_metric_comes_back_with_its_type(families: dict[str, Metric]) -> None:
    for name, metric in families.items():
        row = BY_NAME.get(name) or BY_NAME[f"{name}_total"]
        assert (name, metric.type) == (name, row.kind)


def test_a_histogram_comes_back_with_what_was_observed(families: dict[str, Metric]) -> None:
    samples = {
        (s.name, s.labels["group"], s.labels.get("le")): s.value
        for s in families["mq_latency_seconds"].samples
    }
    assert {group for _, group, _ in samples} == {"g", HOSTILE}
    name = "mq_latency_seconds"
    for bound in (*LATENCY_BUCKETS, math.inf):
        le = "+Inf" if bound == math.inf else str(bound)
        expected = sum(value <= bound for value in (0.5, 7.0))
        assert samples[f"{name}_bucket", "g", le] == expected
    assert samples[f"{name}_count", "g", None] == 2
    assert samples[f"{name}_sum", "g", None] == 7.5
    assert samples[f"{name}_bucket", HOSTILE, "86400.0"] == 0
    assert samples[f"{name}_bucket", HOSTILE, "+Inf"] == 1


def test_the_series_of_one_histogram_stand_together(families: dict[str, Metric]) -> None:
    for name, keys in (
        ("mq_latency_seconds", ("group",)),
        ("mq_probe_latency_seconds", ("node", "stage")),
    ):
        order = [tuple(s.labels[key] for key in keys) for s in families[name].samples]
        wanted = len(BY_NAME[name].buckets) + 3
        groups = [order[first : first + wanted] for first in range(0, len(order), wanted)]
        assert all(len(set(group)) == 1 for group in groups)
        assert len({group[0] for group in groups}) == len(groups)


def test_a_probe_has_a_histogram_for_each_stage_from_the_first_on(
    families: dict[str, Metric],
) -> None:
    counts = {
        (s.labels["node"], s.labels["stage"]): s.value
        for s in families["mq_probe_latency_seconds"].samples
        if s.name.endswith("_count")
    }
    assert counts == {
        **{("k1:9092", stage): float(stage != "ack") for stage in STAGES},
        **{(HOSTILE, stage): 0.0 for stage in STAGES},
    }


def test_the_other_times_come_back_too(families: dict[str, Metric]) -> None:
    def values(name: str, label: str) -> dict[str, float]:
        return {s.labels[label]: s.value for s in families[name].samples}

    assert values("mq_lag_seconds", "group") == {"g": 8.5}
    assert values("mq_lag_seconds_uncertainty", "group") == {"g": 0.251}
    assert values("mq_lag_seconds_method", "method") == {"time_index": 1.0}
    assert values("mq_time_to_loss_seconds", "group") == dict.fromkeys(
        ("g", HOSTILE, "i"), math.inf
    )
    assert values("mq_message_size_bytes", "destination") == {"t": 150.0}
    assert values("mq_timestamp_anomalies", "kind") == {
        "future": 3.0,
        "missing": 0.0,
        "unreadable": 0.0,
    }


def test_promtool_has_nothing_to_say() -> None:
    if shutil.which("promtool") is None and "MQ_UNIT" in os.environ:
        pytest.skip("promtool is not installed: `make test` installs it and needs it")
    answer = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text("").encode(),
        capture_output=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, b"")


def test_infinity_is_written_as_the_formats_ask() -> None:
    made = Exposition(lambda _: b"")
    label = labeler({})({"group": "g"})
    made.update("s", [Family("mq_time_to_loss_seconds", [label], [INFINITY])])
    (line,) = [
        line
        for line in b"".join(made.response("", "").content()).decode().splitlines()
        if not line.startswith("#")
    ]
    assert line == 'mq_time_to_loss_seconds{group="g"} +Inf'
