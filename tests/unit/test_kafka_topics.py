"""What a cluster's metadata tells of listings that can't be whole."""

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
    """A cluster of topics whose partitions have these leaders."""
    cluster = ClusterMetadata()
    for name, row in leaders.items():
        topic = cluster.topics[name] = TopicMetadata()
        for number, leader in enumerate(row):
            partition = topic.partitions[number] = PartitionMetadata()
            partition.leader = leader
    return cluster


def test_groups_are_all_listed_while_their_offsets_have_leaders() -> None:
    assert listing_problem(metadata(**{OFFSETS_TOPIC: [0, 1], "orders": [-1]})) is None


def test_groups_of_a_partition_without_a_leader_are_left_out_of_a_listing() -> None:
    found = listing_problem(metadata(**{OFFSETS_TOPIC: [0, -1], "orders": [0]}))
    assert found is not None
    assert found.reason == "unreachable"


def test_a_leaderless_topic_elsewhere_says_nothing_of_the_listing_of_groups() -> None:
    hidden = metadata(orders=[0, -1])
    assert listing_problem(hidden) is None
    assert not sees_offsets_topic(hidden)
    assert sees_offsets_topic(metadata(**{OFFSETS_TOPIC: [0]}))


def test_a_cluster_that_lists_no_topic_any_more_is_believed_after_a_while() -> None:
    vacancy, known, empty = EmptyClusterCheck(), {"orders"}, metadata()
    assert vacancy.problem(empty, (), 0.0) is None, "it never had one"
    assert vacancy.problem(empty, known, 10.0) is not None
    assert vacancy.problem(empty, known, 10.0 + BELIEVED_AFTER - 1) is not None
    assert vacancy.problem(empty, known, 10.0 + BELIEVED_AFTER) is None
    assert vacancy.problem(metadata(orders=[0]), known, 80.0) is None
    assert vacancy.problem(empty, known, 81.0) is not None, "begins again"


def test_a_leader_that_has_no_listener_for_us_is_not_the_same_as_none() -> None:
    cluster = metadata(orders=[0, -1, -1])
    cluster.topics["orders"].partitions[2].error = KafkaError(72)
    assert read_topology(cluster, {"orders": True}).leaders == {
        "orders": (0, NO_LEADER, NO_LISTENER)
    }


def test_a_topic_that_is_just_gone_leaves_the_listing_complete() -> None:
    cluster = metadata(orders=[0], gone=[])
    cluster.topics["gone"].error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    found = read_topology(cluster, {"orders": True, "gone": True})
    assert (list(found.leaders), found.complete, found.problems) == (["orders"], True, ())


def test_a_cluster_without_topics_has_no_groups_to_leave_out() -> None:
    assert listing_problem(metadata()) is None
