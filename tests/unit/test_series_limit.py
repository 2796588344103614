"""`max_series` counts series by the tables that make them, so that it includes new metrics."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.analysis import shared_series
from exporter.analysis.families import View, count_series
from exporter.analysis.logs import series as log_series
from exporter.analysis.logs import time_series
from exporter.analysis.queues import series as queue_series
from exporter.model import Depth, Place, Produced
from tests.support.observations import log, log_backlog, state
from tests.unit.test_queue_state import World

ADDED = 50
"""So many that absent series do not make room for them."""


def logs_shown(most: int, *, per_partition: bool) -> tuple[int, int]:
    """Return the series of two groups on three topics, and how many were left out."""
    made = state()
    topics = {name: log((0, 10), (0, 10)) for name in ("t", "u", "v")}
    made.observe(log_backlog(topics, {group: {"t": {0: 3, 1: 4}} for group in ("g", "h")}), 0.0)
    for sub in made.judged:
        sub.judge.labels = (sub.label,)
    view = View(hold=120.0, max_series=most, per_partition=per_partition)
    shown = made.show(view, 0.0)
    return count_series([*shown.families, *made.show_ages(view)]), shown.dropped


def queues_shown(most: int, *, per_partition: bool) -> tuple[int, int]:
    """The same of two channels on two nodes, and a topic without a channel."""
    world = World(View(hold=120.0, max_series=most, per_partition=per_partition))
    places = [Place(None, "t", group, node) for group in ("c", "d") for node in ("a:1", "b:1")]
    produced = [
        Produced(None, topic, node, 9, None) for topic in ("t", "u") for node in ("a:1", "b:1")
    ]
    world.poll(*(Depth(place, 4, 1, 0) for place in places), produced=produced)
    shown = world.state.show(world.view, world.now)
    return count_series(shown.families), shown.dropped


def constant(*_: Any) -> int:
    return 1


def of_partitions(*_: Any) -> list[int]:
    return [1, 1]


LOG_TABLES = [
    pytest.param(log_series, "_TOPIC_COLUMNS", of_partitions, id="topic-columns"),
    pytest.param(log_series, "_GROUP_SCALARS", constant, id="group"),
    pytest.param(log_series, "_STATED_GROUP_SCALARS", constant, id="stated-group"),
    pytest.param(log_series, "_SCALARS", constant, id="subscription"),
    pytest.param(log_series, "_OF_THE_WHOLE", constant, id="subscription-whole"),
    pytest.param(log_series, "_POSITIONS", of_partitions, id="positions"),
    pytest.param(time_series, "SCALARS", constant, id="time"),
    pytest.param(time_series, "TOPIC_SCALARS", constant, id="topic"),
    pytest.param(shared_series, "_SCALARS", constant, id="judgement"),
]
QUEUE_TABLES = [
    pytest.param(queue_series, "_PARTITION_COLUMNS", constant, id="parts"),
    pytest.param(queue_series, "_QUEUE_SCALARS", constant, id="queue"),
    pytest.param(queue_series, "_SCALARS", constant, id="subscription"),
    pytest.param(queue_series, "_OF_THE_WHOLE", constant, id="subscription-whole"),
    pytest.param(queue_series, "_DEPTHS", constant, id="depths"),
]


def add_metrics(patch: pytest.MonkeyPatch, module: Any, table: str, value: Any) -> None:
    """Add metrics that always have a value to a table."""
    added = tuple((f"mq_added_{index}", value) for index in range(ADDED))
    patch.setattr(module, table, (*getattr(module, table), *added))


@pytest.mark.parametrize("per_partition", [True, False], ids=["partitions", "sums"])
@pytest.mark.parametrize(("module", "table", "value"), LOG_TABLES)
def test_a_metric_of_logs_that_is_added_to_a_table_is_counted(
    monkeypatch: pytest.MonkeyPatch, module: Any, table: str, value: Any, per_partition: bool
) -> None:
    before, _ = logs_shown(100_000, per_partition=per_partition)
    add_metrics(monkeypatch, module, table, value)
    every, dropped = logs_shown(100_000, per_partition=per_partition)
    assert (every - before) % ADDED == 0
    assert every >= before + ADDED
    assert dropped == 0
    for most in range(before // 2, every, 3):
        series, dropped = logs_shown(most, per_partition=per_partition)
        assert series <= most
        assert dropped > 0


@pytest.mark.parametrize("per_partition", [True, False], ids=["partitions", "sums"])
@pytest.mark.parametrize(("module", "table", "value"), QUEUE_TABLES)
def test_a_metric_of_queues_that_is_added_to_a_table_is_counted(
    monkeypatch: pytest.MonkeyPatch, module: Any, table: str, value: Any, per_partition: bool
) -> None:
    before, _ = queues_shown(100_000, per_partition=per_partition)
    add_metrics(monkeypatch, module, table, value)
    every, dropped = queues_shown(100_000, per_partition=per_partition)
    assert every >= before + ADDED
    assert dropped == 0
    for most in range(before // 2, every, 3):
        series, dropped = queues_shown(most, per_partition=per_partition)
        assert series <= most
        assert dropped > 0
