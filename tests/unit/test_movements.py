"""Which subscriptions are followed for latencies, and which changes count as movements."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.collectors.kafka.ages.movements import Followed, Movement
from exporter.model import Log, LogBacklog, Positions
from exporter.name_filter import NameMatcher

NOBODY = NameMatcher(())
Offsets = Mapping[int, int | None]


def backlog(
    *,
    recreated: frozenset[str] = frozenset(),
    logs_complete: bool = True,
    groups_complete: bool = True,
    topics: tuple[str, ...] = ("t", "u"),
    **groups: Mapping[str, Offsets],
) -> LogBacklog:
    """The committed offsets of each group by topic; topics have three partitions."""
    return LogBacklog(
        logs={topic: Log([0] * 3, [100] * 3, [100] * 3) for topic in topics},
        positions={group: Positions(group, offsets) for group, offsets in groups.items()},
        states={},
        logs_complete=logs_complete,
        groups_complete=groups_complete,
        recreated=recreated,
    )


def moved(
    followed: Followed, observed: LogBacklog, at: float = 0.0
) -> list[tuple[str, str, int, int]]:
    """Group, topic, partition and last offset of each movement."""
    return [(*m.key, m.partition, m.last) for m in followed.observe(observed, at)]


def test_the_first_known_position_is_no_movement() -> None:
    followed = Followed(10, NOBODY)
    assert moved(followed, backlog(g={"t": {0: 5, 1: 7}})) == []
    assert moved(followed, backlog(g={"t": {0: 5, 1: 7}})) == []


def test_each_partition_that_moved_is_one_movement() -> None:
    """Up to the message before the position."""
    followed = Followed(10, NOBODY)
    moved(followed, backlog(g={"t": {0: 5, 1: 7, 2: 0}}))
    assert moved(followed, backlog(g={"t": {0: 9, 1: 7, 2: 1}})) == [
        ("g", "t", 0, 8),
        ("g", "t", 2, 0),
    ]
    assert moved(followed, backlog(g={"t": {0: 9, 1: 7, 2: 1}})) == []


def test_a_movement_has_the_time_at_which_it_was_seen() -> None:
    followed = Followed(10, NOBODY)
    followed.observe(backlog(g={"t": {0: 5}}), 100.0)
    assert followed.observe(backlog(g={"t": {0: 6}}), 110.0) == [
        Movement(("g", "t"), "t", 0, 5, 110.0)
    ]


def test_a_position_that_went_back_moves_from_its_new_offset() -> None:
    followed = Followed(10, NOBODY)
    moved(followed, backlog(g={"t": {0: 50}}))
    assert moved(followed, backlog(g={"t": {0: 10}})) == []
    assert moved(followed, backlog(g={"t": {0: 12}})) == [("g", "t", 0, 11)]


def test_the_first_commit_in_a_partition_is_no_movement() -> None:
    followed = Followed(10, NOBODY)
    moved(followed, backlog(g={"t": {0: 5}}))
    assert moved(followed, backlog(g={"t": {0: 5, 1: 30}})) == []
    assert moved(followed, backlog(g={"t": {0: 5, 1: 31}})) == [("g", "t", 1, 30)]


def test_a_group_with_expired_positions_starts_again() -> None:
    followed = Followed(10, NOBODY)
    for offsets in ({"t": {0: 5}}, {}, {"t": {0: 8}}):
        assert moved(followed, backlog(g=offsets)) == []
    assert moved(followed, backlog(g={"t": {0: 9}})) == [("g", "t", 0, 8)]


def test_an_unreadable_partition_is_one_movement_once_it_is_read() -> None:
    followed = Followed(10, NOBODY)
    moved(followed, backlog(g={"t": {0: 5, 1: 5}}))
    for offsets in ({0: None, 1: 5}, {1: 5}):
        assert moved(followed, backlog(g={"t": offsets})) == []
    assert moved(followed, backlog(groups_complete=False)) == []
    assert moved(followed, backlog(g={"t": {0: 8, 1: 5}})) == [("g", "t", 0, 7)]


def test_a_recreated_topic_starts_again() -> None:
    followed = Followed(10, NOBODY)
    moved(followed, backlog(g={"t": {0: 5}, "u": {0: 5}}))
    made_anew = backlog(g={"t": {0: 9}, "u": {0: 6}}, recreated=frozenset({"t"}))
    assert moved(followed, made_anew) == [("g", "u", 0, 5)]
    assert moved(followed, backlog(g={"t": {0: 10}, "u": {0: 6}})) == [("g", "t", 0, 9)]


def test_a_limited_number_is_followed_and_the_next_one_if_one_is_deleted() -> None:
    followed = Followed(2, NOBODY)
    three = backlog(a={"t": {0: 1}}, b={"t": {0: 1}}, c={"t": {0: 1}})
    moved(followed, three)
    assert sorted(followed.keys) == [("a", "t"), ("b", "t")]
    moved(followed, backlog(b={"t": {0: 1}}, c={"t": {0: 1}}))
    assert sorted(followed.keys) == [("b", "t"), ("c", "t")]


def test_new_groups_do_not_replace_followed_ones() -> None:
    followed = Followed(1, NOBODY)
    moved(followed, backlog(z={"t": {0: 1}}))
    moved(followed, backlog(a={"t": {0: 1}}, z={"t": {0: 1}}))
    assert list(followed.keys) == [("z", "t")]


def test_a_configured_group_is_followed_beyond_the_limit() -> None:
    followed = Followed(0, NameMatcher(("pay_.*",)))
    observed = backlog(pay_1={"t": {0: 1}}, other={"t": {0: 1}})
    moved(followed, observed)
    assert list(followed.keys) == [("pay_1", "t")]


def test_groups_stay_followed_after_an_incomplete_list() -> None:
    for incomplete in ({"groups_complete": False}, {"logs_complete": False}):
        followed = Followed(1, NOBODY)
        moved(followed, backlog(g={"t": {0: 1}}))
        moved(followed, backlog(**incomplete))  # type: ignore[arg-type]
        assert list(followed.keys) == [("g", "t")]


def test_a_deleted_topic_is_no_longer_followed() -> None:
    followed = Followed(10, NOBODY)
    moved(followed, backlog(g={"t": {0: 1}, "u": {0: 1}}))
    moved(followed, backlog(g={"t": {0: 1}, "u": {0: 1}}, topics=("t",)))
    assert list(followed.keys) == [("g", "t")]


def test_a_movement_is_retried_up_to_the_limit() -> None:
    followed = Followed(10, NOBODY)
    followed.observe(backlog(g={"t": {0: 5}}), 0.0)
    (movement,) = followed.observe(backlog(g={"t": {0: 9}}), 10.0)
    seen = []
    for poll in range(4):
        followed.retry(movement, movement.last - 1, 3)
        again = followed.observe(backlog(g={"t": {0: 9}}), 20.0 + poll)
        if not again:
            break
        (movement,) = again
        seen.append((movement.last, movement.at))
    assert seen == [(7, 10.0), (6, 10.0)]


def test_offsets_before_the_first_message_are_not_retried() -> None:
    followed = Followed(10, NOBODY)
    followed.retry(Movement(("g", "t"), "t", 0, 0, 1.0), -1, 3)
    assert followed.observe(backlog(g={"t": {0: 1}}), 2.0) == []
