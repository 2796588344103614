"""What a cluster's metadata tells of listings that can't be whole."""

from __future__ import annotations

from confluent_kafka.admin import ClusterMetadata, PartitionMetadata, TopicMetadata

from exporter.collectors.kafka.topics import OFFSETS_TOPIC, listing_problem


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


def test_other_topics_stand_for_the_offsets_where_these_may_not_be_seen() -> None:
    assert listing_problem(metadata(orders=[0, 1])) is None
    assert listing_problem(metadata(orders=[0, -1])) is not None


def test_a_cluster_without_topics_has_no_groups_to_leave_out() -> None:
    assert listing_problem(metadata()) is None
