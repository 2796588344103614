"""A source's rows and its own state in the JSON: old values, offsets, nodes, probes and tasks."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.analysis.rows import PLAIN, Wanted
from exporter.model import LogTimes, Memberships, NodeProbe, Probes
from tests.support.observations import log, log_backlog, members
from tests.unit.test_source import HOLD, World

STALE = Wanted(stale=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def one(world: World, wanted: Wanted) -> dict[str, Any]:
    (row,) = world.source.rows(wanted)
    return row


def test_rows_of_a_dead_source_are_stale_and_kept_where_they_are_wanted(world: World) -> None:
    assert world.source.rows(STALE) == []
    world.run("backlog", log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 4}}}))
    world.after(3.0)
    row = one(world, PLAIN)
    assert (row["stale"], row["values_age_seconds"]) == (False, 3.0)
    world.run("backlog", None)
    assert one(world, PLAIN)["stale"]
    world.after(HOLD + 1)
    assert world.source.rows() == []
    row = one(world, STALE)
    assert (row["stale"], row["values_age_seconds"]) == (True, HOLD + 4)
    assert (row["lag_messages"], row["group"]) == (6, "g")
    assert world.shown("mq_lag_messages") == {}
    world.run("backlog", log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 5}}}))
    row = one(world, STALE)
    assert (row["stale"], row["values_age_seconds"], row["lag_messages"]) == (False, 0.0, 5)


def test_after_a_reload_the_last_values_are_stale_until_the_next_poll(world: World) -> None:
    backlog = log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 4}}})
    world.run("backlog", backlog)
    world.now += 10.0
    world.run("backlog", backlog)
    world.reload()
    row = one(world, Wanted(partitions=True, stale=True))
    assert (row["stale"], row["partitions"][0]["unmoved_seconds"]) == (True, 10.0)
    world.run("backlog", backlog)
    assert not one(world, STALE)["stale"]


def test_a_partition_has_its_offsets_its_last_movement_and_whether_it_has_a_consumer(
    world: World,
) -> None:
    def poll(first: int) -> None:
        logs = {"t": log((2, 10), (3, 20))}
        world.run("backlog", log_backlog(logs, {"g": {"t": {0: first, 1: 20}}}))

    poll(4)
    world.run("consumers", Memberships({"g": members({"t": [0]})}))
    world.now += 10.0
    poll(5)
    world.now += 7.0
    poll(5)
    row = one(world, Wanted(partitions=True))
    first, second = row["partitions"]
    names = ("start_offset", "committed_offset", "end_offset", "unmoved_seconds", "assigned")
    assert [first[name] for name in names] == [2, 5, 10, 7.0, True]
    assert [second[name] for name in names] == [3, 20, 20, None, False]
    assert row["rebalanced_at"] == []


def test_rebalances_have_their_time(world: World) -> None:
    for state in ("stable", "preparing_rebalance", "stable"):
        commits = {"g": {"t": {0: 4}}}
        world.run("backlog", log_backlog({"t": log((0, 10))}, commits, states={"g": state}))
        world.now += 10.0
    row = one(world, Wanted(partitions=True, clock=world.time()))
    assert row["rebalanced_at"] == [world.time() - 20.0]


def test_the_state_of_nodes_probes_and_tasks(world: World) -> None:
    before = world.source.status(health=True)
    assert (before["nodes"], before["probes"]) == ([], [])
    assert {task["runs"] for task in before["tasks"]} == {0}
    assert "tasks" not in world.source.status()
    world.run("backlog", log_backlog({}, nodes={"b:1": True, "a:1": False}))
    world.run("probe", Probes([NodeProbe("b:1", True, 0.1, 0.2, 0.3)]))
    found = world.source.status(health=True)
    assert found["nodes"] == [{"node": "a:1", "up": False}, {"node": "b:1", "up": True}]
    assert found["probes"] == [
        {"node": "b:1", "success": True, "sent": 1, "received": 1, "lost": 0, "failed": 0}
    ]
    world.run("backlog", None)
    found = world.source.status(health=True)
    assert {node["up"] for node in found["nodes"]} == {False}
    (backlog,) = (task for task in found["tasks"] if task["task"] == "backlog")
    assert (backlog["success"], backlog["runs"]) == (False, 2)
    assert (backlog["reason"], backlog["message"]) == ("unreachable", "no broker")
    assert backlog["last_success"] > 0


def test_no_age_is_made_up_for_a_row_of_old_values(world: World) -> None:
    world.run("backlog", log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 4}}}))
    world.run("latency", LogTimes(world.time(), {}, {}))
    world.run("backlog", None)
    world.after(HOLD + 1)
    assert one(world, STALE)["lag_seconds"] is None
