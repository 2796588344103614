"""How a cluster's metadata shows that lists of groups and topics are incomplete."""

from __future__ import annotations

from confluent_kafka import KafkaError
from confluent_kafka.admin import ClusterMetadata, PartitionMetadata, TopicMetadata

from exporter.collectors.kafka.topics import (
    BELIEVED_AFTER,
    NO_LEADER,
    NO_LISTENER,
    OFFSETS_TOPIC,
    EmptyClusterCheck,
    listing_problem,
    read_topology,
    sees_offsets_topic,
)


def metadata(**leaders: list[int]) -> ClusterMetadata:
    """A cluster of topics with these partition leaders."""
    cluster = ClusterMetadata()
    for name, row in leaders.items():
        topic = cluster.topics[name] = TopicMetadata()
        for number, leader in enumerate(row):
            partition = topic.partitions[number] = PartitionMetadata()
            partition.leader = leader
    return cluster


def test_the_list_of_groups_is_complete_while_offset_partitions_have_leaders() -> None:
    assert listing_problem(metadata(**{OFFSETS_TOPIC: [0, 1], "orders": [-1]})) is None


def test_the_list_of_groups_is_incomplete_if_an_offset_partition_has_no_leader() -> None:
    found = listing_problem(metadata(**{OFFSETS_TOPIC: [0, -1], "orders": [0]}))
    assert found is not None
    assert found.reason == "unreachable"


def test_other_topics_without_leaders_do_not_affect_the_list_of_groups() -> None:
    hidden = metadata(orders=[0, -1])
    assert listing_problem(hidden) is None
    assert not sees_offsets_topic(hidden)
    assert sees_offsets_topic(metadata(**{OFFSETS_TOPIC: [0]}))


def test_an_empty_list_of_topics_is_believed_after_a_while() -> None:
    vacancy, known, empty = EmptyClusterCheck(), {"orders"}, metadata()
    assert vacancy.problem(empty, (), 0.0) is None, "it never had one"
    assert vacancy.problem(empty, known, 10.0) is not None
    assert vacancy.problem(empty, known, 10.0 + BELIEVED_AFTER - 1) is not None
    assert vacancy.problem(empty, known, 10.0 + BELIEVED_AFTER) is None
    assert vacancy.problem(metadata(orders=[0]), known, 80.0) is None
    assert vacancy.problem(empty, known, 81.0) is not None, "begins again"


def test_a_leader_without_a_matching_listener_differs_from_no_leader() -> None:
    cluster = metadata(orders=[0, -1, -1])
    cluster.topics["orders"].partitions[2].error = KafkaError(72)
    assert read_topology(cluster, {"orders": True}).leaders == {
        "orders": (0, NO_LEADER, NO_LISTENER)
    }


def test_the_list_of_topics_is_complete_without_a_deleted_topic() -> None:
    cluster = metadata(orders=[0], gone=[])
    cluster.topics["gone"].error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    found = read_topology(cluster, {"orders": True, "gone": True})
    assert (list(found.leaders), found.complete, found.problems) == (["orders"], True, ())


def test_the_list_of_groups_is_complete_in_a_cluster_without_topics() -> None:
    assert listing_problem(metadata()) is None
