"""Which partition probes which broker, and which group gets the commit."""

from __future__ import annotations

import pytest

from exporter.collectors.kafka.probe.layout import (
    KEPT,
    Layout,
    Partition,
    ProbeTarget,
    RemovedBrokers,
    assign_targets,
    assignment,
    choose_group,
    homeless,
    java_hash,
    orphans,
    probe_group,
)
from exporter.model import Roster

NODES = {0: "a:1", 1: "b:1", 2: "c:1"}


def layout(*leaders: int, nodes: dict[int, str] | None = None) -> Layout:
    """A topic without replicas: partition n is on broker n, and led by the given broker."""
    partitions = tuple(Partition(leader, (n,)) for n, leader in enumerate(leaders))
    return Layout(NODES if nodes is None else nodes, partitions or None, ())


def targets(before: dict[str, int | None], now: Layout) -> dict[str, int | None]:
    """Broker to partition, with the targets of the last round in `before`."""
    brokers = {name: broker for broker, name in NODES.items()}
    old = [ProbeTarget(brokers[name], name, partition, 0.0) for name, partition in before.items()]
    return {found.node: found.partition for found in assign_targets(old, now, 1.0)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("hello", 99162322),
        ("Aa", 2112),
        ("BB", 2112),
        ("polygenelubricants", -(2**31)),
        ("\N{PILE OF POO}", 55357 * 31 + 56489),
    ],
)
def test_the_hash_is_javas(text: str, expected: int) -> None:
    assert java_hash(text) == expected


def test_a_group_is_chosen_whose_coordinator_is_the_broker() -> None:
    leaders = [0, 1, 2, 0, 1, 2, 0, 1]
    for broker in range(3):
        group = choose_group("t", broker, leaders, None)
        assert group is not None
        assert leaders[abs(java_hash(group)) % 8] == broker


def test_the_group_is_kept_while_no_other_broker_coordinates_it() -> None:
    first = choose_group("t", 1, [0, 1, 2, 0, 1, 2, 0, 1], None)
    assert first is not None
    assert choose_group("t", 1, [1] * 8, first) == first
    assert choose_group("t", 1, [-1] * 8, first) == first
    assert choose_group("t", 1, [0] * 8, first) is None


def test_each_broker_has_a_group_if_coordinators_are_unknown() -> None:
    assert [choose_group("t", broker, (), None) for broker in (0, 1, 65)] == ["t-0", "t-1", "t-1"]


def test_only_the_groups_of_the_probes_are_internal() -> None:
    pattern = probe_group("my.probe")
    names = ["my.probe-0", "my.probe-63", "my.probe", "my.probe-a", "my.probe-1-x", "my-probe-1"]
    assert [name for name in names if pattern.fullmatch(name)] == ["my.probe-0", "my.probe-63"]


def test_each_broker_is_probed_on_the_lowest_partition_that_it_leads() -> None:
    assert targets({}, layout(2, 0, 0, 1, 2)) == {"a:1": 1, "b:1": 3, "c:1": 0}


def test_a_broker_keeps_its_partition_while_it_leads_it() -> None:
    assert targets({"a:1": 2}, layout(0, 1, 0)) == {"a:1": 2, "b:1": 1}


def test_a_broker_keeps_its_partition_while_it_has_no_leader() -> None:
    gone = {broker: name for broker, name in NODES.items() if broker != 1}
    assert targets({"b:1": 1}, layout(0, -1, 2, nodes=gone))["b:1"] == 1
    assert targets({"b:1": 1}, layout(0, 1, 2, nodes=gone))["b:1"] == 1, "its leader is not listed"
    assert targets({"b:1": 1}, layout(0, -1, 2))["b:1"] == 1, "it is back and does not lead yet"
    assert targets({}, layout(0, -1, 2))["b:1"] == 1, "nor is it known from before"


def test_probes_fail_for_a_dead_broker_with_its_partition_led_by_another() -> None:
    gone = {broker: name for broker, name in NODES.items() if broker != 1}
    assert targets({"b:1": 1}, layout(0, 0, 2, nodes=gone))["b:1"] is None


def test_a_listed_broker_that_leads_nothing_is_not_probed() -> None:
    assert targets({"b:1": 1}, layout(0, 0, 2)) == {"a:1": 0, "c:1": 2}


def test_a_dead_broker_is_forgotten_after_a_day_or_if_it_returns_with_another_name() -> None:
    gone = {broker: name for broker, name in NODES.items() if broker != 1}
    old = assign_targets((), layout(0, 1, 2), 0.0)
    dead = layout(0, -1, 2, nodes=gone)
    assert {each.node for each in assign_targets(old, dead, KEPT - 1)} == {"a:1", "b:1", "c:1"}
    assert {each.node for each in assign_targets(old, dead, KEPT + 1)} == {"a:1", "c:1"}
    moved = layout(0, 1, 2, nodes={**NODES, 1: "d:1"})
    assert {each.node for each in assign_targets(old, moved, 1.0)} == {"a:1", "d:1", "c:1"}


def test_brokers_without_a_partition_get_one_to_lead() -> None:
    assert homeless(layout(0, -1)) == [2], "the partition that nobody leads is broker 1's"
    assert assignment(layout(0, -1), [2]) == [[2]]
    copied = Layout(NODES, (Partition(0, (0, 1)),), ())
    assert homeless(copied) == [1, 2]
    assert assignment(copied, [1, 2]) == [[1, 2], [2, 0]]


def test_a_removed_broker_is_no_longer_probed_after_two_rosters() -> None:
    gone = {broker: name for broker, name in NODES.items() if broker != 1}
    now = layout(0, -1, 2, nodes=gone)
    removed = RemovedBrokers()
    old = assign_targets((), layout(0, 1, 2), 0.0)
    names = {name: str(broker) for broker, name in gone.items()}
    down = Roster(0.5, names, frozenset({"1"}))
    assert removed.update(down, old) == frozenset()
    for at in (1.0, 1.0):
        assert removed.update(Roster(at, names, frozenset()), old) == frozenset()
    found = removed.update(Roster(2.0, names, frozenset()), old)
    assert found == {1}
    assert {each.node for each in assign_targets(old, now, 2.0, found)} == {"a:1", "c:1"}
    assert orphans(now, down) == []
    assert orphans(now, Roster(2.0, names, frozenset())) == [1]
    assert orphans(now, None) == []
