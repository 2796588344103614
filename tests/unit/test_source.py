"""One running source: which series it exposes, for how long, and what a reload keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

import exporter.sources.source
from exporter.analysis.history import Point
from exporter.analysis.rows import Wanted
from exporter.config.kafka import KafkaSource
from exporter.config.rabbitmq import RabbitSource
from exporter.model import (
    CollectError,
    Collector,
    Counts,
    Deadline,
    Depth,
    Discovery,
    Finding,
    LogTimes,
    Memberships,
    NodeProbe,
    Observation,
    Place,
    Probes,
    QueueBacklog,
    QueueCounts,
    Retention,
    Stamps,
    Survey,
)
from exporter.show.exposition import Exposition
from exporter.sources.source import Source
from tests.support.observations import log, log_backlog

HOLD = 120.0
TASKS = ("discovery", "backlog", "latency", "consumers", "probe")
AT = 1_700_000_000.0
KAFKA = {"name": "s", "system": "kafka", "bootstrap_servers": "k:9092"}
RABBITMQ = {"name": "s", "system": "rabbitmq", "management_url": "http://r:15672"}


class Fake:
    """A collector whose tasks return given observations; without one, they fail."""

    system: str = "kafka"
    follows: Mapping[str, str] = {"latency": "backlog"}

    def __init__(self) -> None:
        self.answers: dict[str, Observation] = {}
        self.asked: list[str] = []
        self.tasks: Mapping[str, Callable[[Deadline], Observation]] = {
            name: self._task(name) for name in TASKS
        }

    def _task(self, name: str) -> Callable[[Deadline], Observation]:
        def run(_: Deadline) -> Observation:
            self.asked.append(name)
            if name not in self.answers:
                raise CollectError("unreachable", "no broker")
            return self.answers[name]

        return run

    def due_early(self, task: str) -> bool:
        return False

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        return ()

    def survey(self, deadline: Deadline, seconds: float) -> Survey:
        raise NotImplementedError

    def close(self) -> None:
        pass


class World:
    """A source, its collector, its clock and its exposition."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, config: Mapping[str, object] | None = None
    ) -> None:
        monkeypatch.setattr(exporter.sources.source, "time", self)
        self.config = KAFKA if config is None else config
        self.now = 1_000.0
        self.exposition = Exposition(lambda _: b"")
        self.collector = Fake()
        self.source = self._make(None)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return AT + self.now

    def reload(self, **changes: object) -> None:
        """Reload with another config of the same cluster."""
        before = self.source
        before.stop()
        self.source = self._make(before, **changes)

    def run(self, task: str, answer: Observation | None) -> None:
        """Run one task; None is a failure."""
        self.collector.answers.pop(task, None)
        if answer is not None:
            self.collector.answers[task] = answer
        (runner,) = (each for each in self.source._tasks.runners if each.task.name == task)
        runner.run_once()

    def after(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.source.expire()

    def shown(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the exposed series of a metric, by their labels without system and source."""
        page = b"".join(self.exposition.response("", "").content()).decode()
        return {
            tuple(
                (key, value)
                for key, value in sample.labels.items()
                if key not in ("system", "source")
            ): sample.value
            for metric in text_string_to_metric_families(page)
            for sample in metric.samples
            if sample.name == name
        }

    def groups(self, name: str) -> set[str]:
        return {dict(labels)["group"] for labels in self.shown(name)}

    def _make(self, heir_of: Source | None, **changes: object) -> Source:
        kind = KafkaSource if self.config is KAFKA else RabbitSource
        config = kind.model_validate({**self.config, "hold": f"{HOLD:g}s", **changes})
        made: Collector = self.collector
        return Source(
            config,
            made,
            self.exposition,
            started=0.0,
            carried=None if heir_of is None else heir_of.carried(),
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def backlog(*groups: str) -> Observation:
    return log_backlog({"t": log((0, 10))}, {group: {"t": {0: 4}} for group in groups})


def times(*groups: str) -> LogTimes:
    stamps = Stamps([0], [AT - 60.0], [0.0], "record")
    return LogTimes(
        AT,
        {(group, "t"): stamps for group in groups},
        {(group, "t"): [3.0] for group in groups},
        sizes={"t": (1, 100)},
    )


def probes(*nodes: str, received: bool = True) -> Probes:
    return Probes(
        [
            NodeProbe(node, sent=True, publish=0.01, receive=0.02 if received else None, ack=None)
            for node in nodes
        ]
    )


OF_TIMES = ("mq_lag_seconds", "mq_lag_seconds_method", "mq_latency_seconds_count")
OF_PROBES = ("mq_probe_success", "mq_probe_messages_total", "mq_probe_latency_seconds_count")


# Ages and latencies


def test_times_are_shown_beside_the_positions_that_they_belong_to(world: World) -> None:
    world.run("backlog", backlog("g"))
    assert not any(world.groups(name) for name in OF_TIMES)
    world.run("latency", times("g"))
    assert world.shown("mq_lag_seconds") == {
        (("destination", "t"), ("partition", "0"), ("group", "g")): 60.0
    }
    assert all(world.groups(name) == {"g"} for name in OF_TIMES)


def test_times_that_can_not_be_read_are_held_and_then_hidden(world: World) -> None:
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    for seconds, visible in ((HOLD, True), (0.1, False)):
        world.after(seconds)
        world.run("backlog", backlog("g"))
        world.run("latency", None)
        assert [bool(world.groups(name)) for name in OF_TIMES] == [visible] * 3
    assert world.groups("mq_lag_messages") == {"g"}


def test_times_go_with_the_positions_that_they_belong_to(world: World) -> None:
    """Times of positions that could not be read again are as old as the positions."""
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    for seconds, visible in ((HOLD, True), (0.1, False)):
        world.after(seconds)
        world.run("backlog", None)
        world.run("latency", times("g"))
        shown = [bool(world.groups(name)) for name in ("mq_lag_messages", *OF_TIMES)]
        assert shown == [visible] * 4


def test_times_come_back_with_what_was_counted_before(world: World) -> None:
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    world.after(HOLD + 1)
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    assert list(world.shown("mq_latency_seconds_count").values()) == [2.0]


def test_times_before_any_position_show_nothing(world: World) -> None:
    world.run("latency", times("g"))
    assert not any(world.shown(name) for name in OF_TIMES)


def test_a_deleted_subscription_takes_its_times_with_it_at_once(world: World) -> None:
    world.run("backlog", backlog("g", "h"))
    world.run("latency", times("g", "h"))
    world.run("backlog", backlog("g"))
    assert all(world.groups(name) == {"g", "h"} for name in OF_TIMES)
    world.run("backlog", backlog("g"))
    assert all(world.groups(name) == {"g"} for name in ("mq_lag_messages", *OF_TIMES))


def test_a_deletion_does_not_make_the_others_times_any_younger(world: World) -> None:
    world.run("backlog", backlog("g", "h"))
    world.run("latency", times("g", "h"))
    for _ in range(2):
        world.after(HOLD / 2)
        world.run("backlog", backlog("g"))
    assert world.groups("mq_lag_seconds") == {"g"}
    world.after(0.1)
    assert not world.groups("mq_lag_seconds")


def test_a_partition_that_is_not_shown_any_more_has_no_age(world: World) -> None:
    both = log_backlog({"t": log((0, 10), (0, 5))}, {"g": {"t": {0: 4, 1: 5}}})
    one = log_backlog({"t": log((0, 10), (None, None))}, {"g": {"t": {0: 4, 1: 5}}})
    world.run("backlog", both)
    world.run("latency", times("g"))
    for seconds, visible in ((HOLD, {"0", "1"}), (1.0, {"0"})):
        world.after(seconds)
        world.run("backlog", one)
        world.run("latency", times("g"))
        for name in ("mq_lag_messages", "mq_lag_seconds"):
            assert {dict(labels)["partition"] for labels in world.shown(name)} == visible


def test_a_subscription_as_a_whole_has_its_largest_age(world: World) -> None:
    world.reload(granularity="subscription")
    world.run("backlog", log_backlog({"t": log((0, 10), (0, 5))}, {"g": {"t": {0: 4, 1: 4}}}))
    stamps = Stamps([0, 1], [AT - 5.0, AT - 60.0], [0.0, 0.0], "record")
    world.run("latency", LogTimes(AT, {("g", "t"): stamps}, {}))
    assert world.shown("mq_lag_seconds") == {(("destination", "t"), ("group", "g")): 60.0}


def test_what_is_left_out_has_no_times_and_no_sizes_either(world: World) -> None:
    world.reload(max_series=60)
    positions = {"g": {"t": {0: 4}}, "h": {"u": {0: 5}}}
    world.run("backlog", log_backlog({"t": log((0, 10)), "u": log((0, 10))}, positions))
    sizes = {"t": (1, 100), "u": (1, 100)}
    stamps = {key: Stamps([0], [AT - 1.0], [0.0], "record") for key in (("g", "t"), ("h", "u"))}
    world.run("latency", LogTimes(AT, stamps, {}, sizes))
    assert world.groups("mq_lag_messages") == {"g"}
    assert world.groups("mq_lag_seconds") == {"g"}
    assert world.shown("mq_message_size_bytes") == {(("destination", "t"),): 100.0}


def test_the_forecast_needs_what_discovery_found(world: World) -> None:
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    assert not world.shown("mq_time_to_loss_seconds")
    world.run("discovery", Discovery({"t": Retention(None, None)}))
    world.run("latency", times("g"))
    assert list(world.shown("mq_time_to_loss_seconds").values()) == [float("inf")]


# Rows


def test_a_row_has_the_times_and_infinity_is_null(world: World) -> None:
    world.run("backlog", backlog("g"))
    world.run("discovery", Discovery({"t": Retention(None, None)}))
    world.run("latency", times("g"))
    (row,) = world.source.rows(Wanted(partitions=True))
    assert row["lag_seconds"] == 60.0
    assert row["lag_seconds_uncertainty"] == 0.001
    assert row["lag_seconds_method"] == "record"
    assert row["commit_interval_seconds"] == 0.0
    assert row["time_to_loss_seconds"] is None
    assert [part["lag_seconds"] for part in row["partitions"]] == [60.0]
    json.dumps(row, allow_nan=False)


def test_a_row_without_times_has_null(world: World) -> None:
    world.run("backlog", backlog("g"))
    (row,) = world.source.rows(Wanted(partitions=True))
    names = ("lag_seconds", "lag_seconds_uncertainty", "lag_seconds_method", "time_to_loss_seconds")
    assert [row[name] for name in names] == [None] * 4
    assert [part["lag_seconds"] for part in row["partitions"]] == [None]


# Between two updates


def test_no_status_is_left_of_a_group_whose_offsets_cannot_be_read(world: World) -> None:
    for end in (10, 11):
        world.run("backlog", log_backlog({"t": log((0, end))}, {"g": {"t": {0: 4}}}))
        world.now += 10
    world.now += 2 * HOLD
    world.run("backlog", log_backlog({"t": log((0, 12))}, {}, groups_complete=False))
    (row,) = world.source.rows()
    assert (row["lag_messages"], row["status"], row["causes"]) == (None, "unknown", [])
    assert "1 partition cannot be read" in row["status_reason"]


def test_a_held_value_expires_together_with_the_status_that_rests_on_it(world: World) -> None:
    def part() -> Observation:
        return log_backlog({"t": log((0, 10), (None, None))}, {"g": {"t": {0: 4, 1: 4}}})

    def row() -> tuple[int, str]:
        (found,) = world.source.rows()
        return found["unreadable_partitions"], found["status"]

    for moved in (10, 11):
        whole = log_backlog({"t": log((0, 10), (0, moved))}, {"g": {"t": {0: 4, 1: 4}}})
        world.run("backlog", whole)
        world.now += 10
    world.now += HOLD - 15
    world.run("backlog", part())
    held, judged = row()
    assert (held, judged != "unknown") == (0, True)
    world.now += 10
    assert row() == (held, judged)
    world.run("consumers", Memberships({}))
    assert row() == (held, judged)
    assert world.shown("mq_unreadable_partitions") == {}
    world.run("backlog", part())
    assert row() == (1, "unknown")
    assert list(world.shown("mq_unreadable_partitions").values()) == [1]


def test_a_queues_age_in_a_row_is_that_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, RABBITMQ)
    place = Place("/", "q", None, None)
    for published, waiting in ((0, 0), (5, 5), (5, 5)):
        world.now += 10
        depths = [Depth(place, waiting, 0)]
        queues = frozenset({("/", "q", None)})
        backlog = QueueBacklog(world.now, depths, whole=frozenset({None}), destinations=queues)
        world.run("backlog", backlog)
        counts = Counts(place, waiting, published, 0, redelivered=0, consumers=1)
        world.run("latency", QueueCounts(world.now, [counts]))
    (shown,) = world.shown("mq_lag_seconds").values()
    world.now += 7
    (row,) = world.source.rows(Wanted(partitions=True))
    assert row["lag_seconds"] == shown > 0
    assert row["partitions"][0]["lag_seconds"] == shown


def test_the_history_starts_at_the_same_moment_whenever_it_is_asked_for(world: World) -> None:
    world.run("backlog", backlog("g"))
    starts = []
    for seconds in (0, 7):
        world.now += seconds
        (row,) = world.source.rows(Wanted(history=Point._fields, clock=world.time()))
        starts.append(row["history"]["start"])
    assert starts[0] == starts[1]


# Probes


def test_probes_are_shown_without_any_position(world: World) -> None:
    world.run("probe", probes("k1"))
    assert world.shown("mq_probe_success") == {(("node", "k1"),): 1.0}


def test_probes_are_held_and_then_hidden_and_go_on_counting(world: World) -> None:
    world.run("probe", probes("k1"))
    world.after(HOLD)
    world.run("probe", None)
    assert all(world.shown(name) for name in OF_PROBES)
    world.after(0.1)
    assert not any(world.shown(name) for name in OF_PROBES)
    world.run("probe", probes("k1"))
    assert world.shown("mq_probe_messages_total")[("node", "k1"), ("result", "sent")] == 2.0


def test_probes_go_on_counting_over_a_reload(world: World) -> None:
    world.run("probe", probes("k1"))
    world.reload(hold="60s")
    sent = ("node", "k1"), ("result", "sent")
    assert world.shown("mq_probe_messages_total")[sent] == 1.0
    world.run("probe", probes("k1"))
    assert world.shown("mq_probe_messages_total")[sent] == 2.0


@pytest.mark.parametrize("name", [*OF_PROBES, *OF_TIMES])
def test_what_is_not_found_again_after_a_reload_is_hidden_in_time(world: World, name: str) -> None:
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    world.run("probe", probes("k1"))
    world.reload(hold="60s")
    world.after(60.0)
    assert world.shown(name)
    world.after(0.1)
    assert not world.shown(name)


def test_probes_that_a_reload_switches_off_are_gone_at_once(world: World) -> None:
    world.run("probe", probes("k1"))
    world.reload(probe={"enabled": False})
    world.run("probe", Probes(()))
    assert not any(world.shown(name) for name in OF_PROBES)


# All of it


def test_the_series_of_every_task_are_counted(world: World) -> None:
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    world.run("probe", probes("k1", "k2"))
    world.run("consumers", Memberships({}))
    page = b"".join(world.exposition.response("", "").content()).decode()
    lines = [line for line in page.splitlines() if line.startswith("mq_")]
    own = (
        "mq_up",
        "mq_collect_",
        "mq_collector_",
        "mq_rows_unreadable_",
        "mq_series",
        "mq_node_up",
        "mq_threshold_probe_",
    )
    expected = sum(not line.startswith(own) for line in lines)
    assert list(world.shown("mq_series").values()) == [expected]
    assert world.source.status()["series"] == expected


def test_a_withdrawn_source_shows_nothing(world: World) -> None:
    world.run("backlog", backlog("g"))
    world.run("latency", times("g"))
    world.run("probe", probes("k1"))
    world.source.stop()
    world.source.withdraw()
    assert b"".join(world.exposition.response("", "").content()) == b""


def test_nothing_is_taken_of_a_source_that_was_stopped(world: World) -> None:
    world.run("backlog", backlog("g"))
    world.source.stop()
    for observation in (times("g"), probes("k1"), backlog("g", "h")):
        world.source._accept(observation)
    assert world.groups("mq_lag_messages") == {"g"}
    assert not any(world.shown(name) for name in (*OF_TIMES, *OF_PROBES))


@pytest.mark.parametrize(
    ("fails", "asked"),
    [
        (None, TASKS),
        ("discovery", TASKS[:1]),
        ("backlog", TASKS[:2]),
        ("latency", TASKS),
        ("consumers", TASKS[:4]),
    ],
)
def test_one_run_of_each_task_ends_where_the_source_can_not_be_reached(
    world: World, fails: str | None, asked: tuple[str, ...]
) -> None:
    world.collector.answers = {
        "discovery": Discovery(),
        "backlog": backlog("g"),
        "latency": times("g"),
        "consumers": Memberships({}),
        "probe": probes("k1"),
    }
    if fails is not None:
        del world.collector.answers[fails]
    world.source.run_once()
    assert tuple(world.collector.asked) == asked
    assert world.source.outcomes["backlog"].runs == 1 or fails == "discovery"
    assert world.source.outcomes["backlog"].reached == (fails not in ("discovery", "backlog"))


def test_a_source_was_tried_when_every_task_that_goes_by_the_clock_has_run(world: World) -> None:
    tried = []
    for task in ("discovery", "backlog", "consumers", "probe"):
        tried.append(world.source.tried)
        world.run(task, None)
    assert [*tried, world.source.tried] == [False, False, False, False, True]
