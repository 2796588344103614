"""Which nodes of a source are exposed, and for how long."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import (
    BrokerMetadata,
    ClusterMetadata,
    PartitionMetadata,
    TopicMetadata,
)

from exporter.analysis.nodes import MOST_VANISHED, NODE_KEPT, Node, follow_nodes
from exporter.collectors.kafka.roster import read_roster
from exporter.collectors.kafka.topics import OFFSETS_TOPIC
from exporter.model import Roster

PROBE = "probes"
NONE: frozenset[str] = frozenset()


def roster(at: float, absent: frozenset[str] | None = NONE, **nodes: str) -> Roster:
    return Roster(at, {name: identity for identity, name in nodes.items()}, absent)


def followed(*polls: tuple[float, dict[str, bool], Roster | None]) -> dict[str, bool]:
    """Return the exposed nodes after polls of (time, which answered, the roster)."""
    nodes: dict[str, Node] = {}
    for now, seen, known in polls:
        follow_nodes(nodes, seen, lambda labels: labels["node"], now, known)
    return {name: node.up for name, node in nodes.items()}


BOTH = (0.0, {"a": True, "b": True}, roster(0.0, i0="a", i1="b"))
ONE = {"a": True}


def test_a_node_that_two_answers_lack_is_gone() -> None:
    assert followed(BOTH, (1.0, ONE, roster(1.0, i0="a"))) == {"a": True, "b": False}
    assert followed(BOTH, *((n, ONE, roster(n, i0="a")) for n in (1.0, 2.0))) == {"a": True}


def test_an_answer_that_is_given_twice_counts_once() -> None:
    again = [(n, ONE, roster(1.0, i0="a")) for n in (1.0, 2.0, 3.0)]
    assert followed(BOTH, *again) == {"a": True, "b": False}


def test_one_answer_with_the_node_begins_the_count_again() -> None:
    lacking = [(n, ONE, roster(n, i0="a")) for n in (1.0, 3.0)]
    back = (2.0, ONE, roster(2.0, frozenset({"i1"}), i0="a"))
    assert followed(BOTH, lacking[0], back, lacking[1]) == {"a": True, "b": False}


@pytest.mark.parametrize("absent", [None, frozenset({"i1"})])
def test_a_node_that_is_down_stays_for_a_day(absent: frozenset[str] | None) -> None:
    polls = [(n, ONE, roster(n, absent, i0="a")) for n in (1.0, 2.0, 3.0, NODE_KEPT)]
    assert followed(BOTH, *polls) == {"a": True, "b": False}
    late = NODE_KEPT + 1.0
    assert followed(BOTH, (late, ONE, roster(late, absent, i0="a"))) == {"a": True}
    assert followed(BOTH, (late, ONE, None)) == {"a": True}


def test_a_node_that_never_answered_is_gone_once_it_is_not_listed() -> None:
    made_up = (0.0, {"a": True, "b": False}, roster(0.0, None, i0="a", i1="b"))
    assert followed(made_up, (1.0, ONE, roster(1.0, None, i0="a"))) == {"a": True, "b": False}
    assert followed(made_up, *((n, ONE, roster(n, None, i0="a")) for n in (1.0, 2.0))) == ONE
    down = roster(2.0, frozenset({"i1"}), i0="a")
    assert followed(made_up, (1.0, ONE, down), (2.0, ONE, down)) == {"a": True, "b": False}


def test_of_many_nodes_that_vanished_the_last_ones_are_kept() -> None:
    polls = [
        (float(n), {"a": True, f"b{n}": True}, roster(n, None, i0="a", **{f"i{n}": f"b{n}"}))
        for n in range(1, MOST_VANISHED + 50)
    ]
    shown = followed(*polls)
    assert len(shown) == MOST_VANISHED + 2
    assert "b1" not in shown
    assert shown[f"b{MOST_VANISHED + 48}"] is False


def test_the_old_name_of_a_node_that_has_another_one_is_gone() -> None:
    seen = {"a": True, "c": True}
    polls = [(n, seen, roster(n, None, i0="a", i1="c")) for n in (1.0, 2.0)]
    assert followed(BOTH, *polls) == {"a": True, "c": True}


def test_a_name_that_another_node_has_now_stays() -> None:
    polls = [(n, {"a": True, "b": True}, roster(n, i0="a", i7="b")) for n in (1.0, 2.0, 3.0)]
    assert followed(BOTH, *polls) == {"a": True, "b": True}


# Metadata of a Kafka cluster


def metadata(brokers: dict[int, str], **topics: list[list[int]]) -> ClusterMetadata:
    """Brokers, and the replicas of each topic's partitions."""
    cluster = ClusterMetadata()
    for broker, name in brokers.items():
        row = cluster.brokers[broker] = BrokerMetadata()
        host, port = name.split(":")
        # They are None until they are read, so they are declared as None.
        for field, value in (("id", broker), ("host", host), ("port", int(port))):
            setattr(row, field, value)
    for name, partitions in topics.items():
        topic = cluster.topics[name] = TopicMetadata()
        for number, replicas in enumerate(partitions):
            partition = topic.partitions[number] = PartitionMetadata()
            partition.replicas = replicas
    return cluster


TWO = {0: "a:1", 1: "b:1"}


def read(cluster: ClusterMetadata) -> Roster:
    return read_roster(cluster, PROBE, 1.0)


def test_a_broker_that_is_down_is_named_by_its_replicas() -> None:
    found = read(metadata(TWO, t=[[0, 2], [1, 0]], **{OFFSETS_TOPIC: [[0, 1]]}))
    assert found == Roster(1.0, {"a:1": "0", "b:1": "1"}, frozenset({"2"}))
    assert (found.lacks("c:1", "2"), found.lacks("d:1", "3")) == (False, True)


def test_the_probes_partition_of_a_removed_broker_does_not_make_it_one_that_is_down() -> None:
    found = read(metadata(TWO, **{PROBE: [[0], [1], [2]], OFFSETS_TOPIC: [[0, 1]]}))
    assert found.absent == frozenset()


def test_a_user_who_may_not_see_every_topic_can_not_tell() -> None:
    found = read(metadata(TWO, t=[[0, 1]]))
    assert found.absent is None
    assert (found.lacks("c:1", "2"), found.lacks("c:1", "1")) == (False, True)


def test_a_topic_that_could_not_be_read_may_have_replicas_anywhere() -> None:
    cluster = metadata(TWO, t=[], **{OFFSETS_TOPIC: [[0, 1]]})
    cluster.topics["t"].error = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
    assert read(cluster).absent is None
