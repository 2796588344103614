"""The series of a log source after polls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from exporter.analysis.families import View
from exporter.analysis.logs.rows import log_rows
from exporter.analysis.logs.series import show
from exporter.analysis.logs.state import LogState
from exporter.model import (
    TIMESTAMP_ANOMALIES,
    CommitStreamReport,
    Generations,
    GroupMembers,
    GroupState,
    LogTimes,
    Memberships,
    Stamps,
)
from tests.support.observations import log, log_backlog, members, shown_values, state

SUB = {"destination": "t", "group": "g"}
POSITION = {**SUB, "partition": "0"}


@dataclass(frozen=True)
class Config:
    """The fields of a source's config that a row needs."""

    system: str = "kafka"
    name: str = "s"


TIME_KEPT = 4
"""Series that are reserved for a subscription of one partition: age, uncertainty, method, time to
loss."""
SOURCE_KEPT = len(TIMESTAMP_ANOMALIES)


@pytest.mark.parametrize(
    ("case", "span", "committed", "lag"),
    [
        ("caught up", (0, 10), 10, 0),
        ("behind", (0, 10), 3, 7),
        ("at the start", (0, 10), 0, 10),
        ("below the log start: deleted messages are not lag", (5, 10), 2, 5),
        ("drained by deletion", (10, 10), 2, 0),
        ("past the end", (0, 10), 60, 0),
        ("empty log", (0, 0), 0, 0),
    ],
)
def test_lag_is_end_minus_the_later_of_position_and_start(
    case: str, span: tuple[int, int], committed: int, lag: int
) -> None:
    s = state()
    s.observe(log_backlog({"t": log(span)}, {"g": {"t": {0: committed}}}), 0.0)
    shown = shown_values(s, 0.0)
    assert (case, shown("mq_lag_messages", **POSITION)) == (case, lag)
    assert shown("mq_committed_offset", **POSITION) == committed
    assert shown("mq_log_end_offset", destination="t", partition="0") == span[1]
    assert shown("mq_log_start_offset", destination="t", partition="0") == span[0]


def test_a_group_that_reads_committed_lags_to_the_last_stable_offset() -> None:
    s = state()
    topic = log((0, 38), stable=[33])
    commits = {"g": {"t": {0: 30}}, "h": {"t": {0: 30}}}
    s.observe(log_backlog({"t": topic}, commits, read_committed=frozenset({"g"})), 0.0)
    shown = shown_values(s, 0.0)
    assert shown("mq_lag_messages", **POSITION) == 3
    assert shown("mq_lag_messages", destination="t", group="h", partition="0") == 8
    assert shown("mq_last_stable_offset", destination="t", partition="0") == 33


def test_no_last_stable_offset_without_an_open_transaction() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 38))}), 0.0)
    assert "mq_last_stable_offset" not in shown_values(s, 0.0).names()


@pytest.mark.parametrize(("position", "lag"), [(8, 0), (9, 0), (7, 3)])
def test_nothing_readable_behind_a_position_is_no_lag(position: int, lag: int) -> None:
    s = state()
    drained = {("t", 0, False): (8, 10)}
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: position}}}, drained=drained), 0.0)
    assert shown_values(s, 0.0)("mq_lag_messages", **POSITION) == lag


def test_a_drained_stretch_is_not_believed_past_its_end() -> None:
    s = state()
    drained = {("t", 0, False): (8, 10)}
    s.observe(log_backlog({"t": log((0, 11))}, {"g": {"t": {0: 8}}}, drained=drained), 0.0)
    assert shown_values(s, 0.0)("mq_lag_messages", **POSITION) == 3


@pytest.mark.parametrize(("position", "marked"), [(3, 1), (10, None)])
def test_lag_over_offsets_that_may_be_empty_is_marked(position: int, marked: int | None) -> None:
    s = state()
    s.observe(
        log_backlog({"t": log((0, 10))}, {"g": {"t": {0: position}}}, gaps=frozenset({"t"})), 0.0
    )
    assert shown_values(s, 0.0)("mq_lag_upper_bound", **SUB) == marked


def test_consumed_is_the_forward_movement_and_a_rewind_is_an_event() -> None:
    s = state()
    for now, position in enumerate([10, 30, 20, 25]):
        s.observe(log_backlog({"t": log((0, 50))}, {"g": {"t": {0: position}}}), float(now))
    shown = shown_values(s, 3.0)
    assert shown("mq_consumed_messages_total", **SUB) == 20 + 5
    assert shown("mq_offset_rewinds_total", **SUB) == 1


def test_a_position_past_the_end_at_the_start_is_counted_at_the_next_poll() -> None:
    """The counter has to be exposed as 0 first."""
    s = state()
    counts = []
    for now in range(3):
        s.observe(log_backlog({"t": log((0, 30))}, {"g": {"t": {0: 100}}}), float(now))
        shown = shown_values(s, float(now))
        counts.append(shown("mq_position_anomalies_total", **SUB, kind="past_end"))
        assert shown("mq_past_end_messages", **SUB) == 70
        assert shown("mq_lag_messages", **POSITION) == 0
    assert counts == [0, 1, 1]


def test_nothing_is_past_the_end_below_the_high_watermark() -> None:
    """The group was assumed to read committed records only; it read past the stable offset."""
    s = state()
    topic = log((0, 38), stable=[33])
    s.observe(
        log_backlog({"t": topic}, {"g": {"t": {0: 36}}}, read_committed=frozenset({"g"})), 0.0
    )
    assert shown_values(s, 0.0)("mq_past_end_messages", **SUB) is None


def test_messages_that_will_be_skipped_become_fewer_as_the_log_grows() -> None:
    s = state()
    past = []
    for now, end in enumerate([30, 60, 100, 130]):
        s.observe(log_backlog({"t": log((0, end))}, {"g": {"t": {0: 100}}}), float(now))
        past.append(shown_values(s, float(now))("mq_past_end_messages", **SUB))
    assert past == [70, 40, None, None]


def test_partitions_added_to_a_topic_are_unread_until_they_are_assigned() -> None:
    """200 records on a new partition that no member reads yet."""
    s = state()
    described = Memberships({"g": members({"t": [0, 1]})})
    before, after = log((0, 10), (0, 20)), log((0, 10), (0, 20), (0, 200))
    commits = {"g": {"t": {0: 10, 1: 20}}}
    s.observe(log_backlog({"t": before}, commits), 0.0)
    s.observe_members(described, 0.0)
    assert shown_values(s, 0.0)("mq_uncommitted_messages", **SUB) == 0
    s.observe(log_backlog({"t": after}, commits), 1.0)
    shown = shown_values(s, 1.0)
    assert shown("mq_uncommitted_partitions", **SUB) == 1
    assert shown("mq_uncommitted_messages", **SUB) == 200
    s.observe_members(Memberships({"g": members({"t": [0, 1, 2]})}), 2.0)
    assert shown_values(s, 2.0)("mq_uncommitted_messages", **SUB) == 200
    s.observe(log_backlog({"t": after}, {"g": {"t": {0: 10, 1: 20, 2: 200}}}), 3.0)
    assert shown_values(s, 3.0)("mq_uncommitted_messages", **SUB) == 0


@pytest.mark.parametrize(("committed", "unread"), [({0: 10, 1: 20}, 200), ({0: 10}, 0)])
def test_partitions_added_while_a_group_without_members_had_read_all_the_others(
    committed: dict[int, int], unread: int
) -> None:
    """A group that never read the whole topic may have assigned its partitions itself."""
    s = state()
    states: dict[str, GroupState] = {"g": "empty"}
    s.observe(
        log_backlog({"t": log((0, 10), (0, 20))}, {"g": {"t": committed}}, states=states),
        0.0,
    )
    after = log((0, 10), (0, 20), (0, 200))
    s.observe(log_backlog({"t": after}, {"g": {"t": committed}}, states=states), 1.0)
    assert shown_values(s, 1.0)("mq_uncommitted_messages", **SUB) == unread


def test_a_group_without_members_that_subscribed_counts_all_partitions_at_first_sight() -> None:
    """The exporter started after the third partition was added."""
    s = state()
    after = log((0, 10), (0, 20), (0, 200))
    s.observe(
        log_backlog(
            {"t": after},
            {"g": {"t": {0: 10, 1: 20}}},
            states={"g": "empty"},
            subscribing=frozenset({"g"}),
        ),
        0.0,
    )
    assert shown_values(s, 0.0)("mq_uncommitted_messages", **SUB) == 200
    found = s.subscriptions["g", "t"].uncommitted(120.0, 0.0)
    assert found is not None
    assert (found.unassigned, found.unassigned_messages) == ([], 0)


class TestAPartitionWithoutALeader:
    """20 unread messages on a partition that is read, 50 on one unreadable after second 10."""

    def run(self, until: float, *, per_partition: bool = True) -> tuple[LogState, View]:
        s = state()
        s.observe_members(Memberships({"g": members({"t": [0, 1, 2, 3]})}), 0.0)
        for now in range(0, int(until) + 1, 10):
            end = 150 if now <= 10 else None
            topic = log((0, 120), (0, end), (0, 7), (0, 0) if now <= 10 else (None, None))
            commits = {"g": {"t": {0: 100, 1: 100, 2: 7}}}
            s.observe(log_backlog({"t": topic}, commits), float(now))
        return s, View(hold=120.0, max_series=1_000, per_partition=per_partition)

    def test_is_held_for_a_while(self) -> None:
        s, view = self.run(100.0)
        shown = shown_values(s, 100.0, view)
        assert shown("mq_lag_messages", **SUB, partition="1") == 50
        assert shown("mq_unreadable_partitions", **SUB) is None

    def test_then_hides_every_number_that_depends_on_it(self) -> None:
        s, view = self.run(200.0)
        shown = shown_values(s, 200.0, view)
        assert shown("mq_unreadable_partitions", **SUB) == 2
        assert shown("mq_lag_messages", **SUB, partition="0") == 20
        for metric in (
            "mq_uncommitted_partitions",
            "mq_uncommitted_messages",
            "mq_retention_margin_messages",
            "mq_consumed_messages_per_second",
            "mq_subscription_produced_messages_per_second",
        ):
            assert (metric, shown(metric, **SUB)) == (metric, None)

    def test_leaves_no_sum_without_partitions(self) -> None:
        s, view = self.run(200.0, per_partition=False)
        assert shown_values(s, 200.0, view)("mq_lag_messages", **SUB) is None

    def test_makes_the_row_a_lower_bound(self) -> None:
        s, view = self.run(200.0)
        shown_values(s, 200.0, view)
        (row,) = log_rows(s, Config(), view, 200.0)
        assert (row["lag_messages"], row["lag_messages_at_least"]) == (None, 27 - 7)
        assert row["unreadable_partitions"] == 2
        for key in (
            "uncommitted_messages",
            "retention_margin_messages",
            "consumed_messages_per_second",
            "produced_messages_per_second",
        ):
            assert (key, row[key]) == (key, None)


def test_events_start_at_zero() -> None:
    s = state()
    s.observe(log_backlog({"t": log((5, 10))}, {"g": {"t": {0: 60}}, "h": {"t": {0: 2}}}), 0.0)
    shown = shown_values(s, 0.0)
    for group in ("g", "h"):
        sub = {"destination": "t", "group": group}
        assert shown("mq_messages_lost_total", **sub) == 0
        assert shown("mq_offset_rewinds_total", **sub) == 0
        assert shown("mq_position_anomalies_total", **sub, kind="past_end") == 0
        assert shown("mq_position_anomalies_total", **sub, kind="deleted_topic") == 0


def test_messages_deleted_unread_are_lost_once_each() -> None:
    s = state()
    for now, start in enumerate([0, 40, 40, 60]):
        s.observe(log_backlog({"t": log((start, 100))}, {"g": {"t": {0: 10}}}), float(now))
    shown = shown_values(s, 3.0)
    assert shown("mq_messages_lost_total", **SUB) == 30 + 20
    assert shown("mq_lag_messages", **POSITION) == 40
    assert shown("mq_consumed_messages_total", **SUB) == 0


def test_jumping_over_lost_messages_consumes_only_what_was_there() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 100))}, {"g": {"t": {0: 10}}}), 0.0)
    s.observe(log_backlog({"t": log((50, 100))}, {"g": {"t": {0: 10}}}), 1.0)
    s.observe(log_backlog({"t": log((50, 100))}, {"g": {"t": {0: 70}}}), 2.0)
    shown = shown_values(s, 2.0)
    assert shown("mq_messages_lost_total", **SUB) == 40
    assert shown("mq_consumed_messages_total", **SUB) == 20


@pytest.mark.parametrize(
    ("case", "after", "start", "consumed", "lost", "lag"),
    [
        ("read, committed and deleted between two polls", 1000, 900, 900, 0, 0),
        ("deleted as far as it was read, as Kafka Streams does", 1000, 1000, 900, 0, 0),
        ("deleted further than it was read", 150, 180, 50, 30, 820),
    ],
)
def test_what_was_read_before_it_was_deleted_is_consumed(
    case: str, after: int, start: int, consumed: int, lost: int, lag: int
) -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 100))}, {"g": {"t": {0: 100}}}), 0.0)
    s.observe(log_backlog({"t": log((start, 1000))}, {"g": {"t": {0: after}}}), 1.0)
    shown = shown_values(s, 1.0)
    assert (case, shown("mq_consumed_messages_total", **SUB)) == (case, consumed)
    assert shown("mq_messages_lost_total", **SUB) == lost
    assert shown("mq_lag_messages", **POSITION) == lag


def test_standing_at_the_start_while_it_moves_is_no_loss() -> None:
    s = state()
    for now, start in enumerate([0, 40, 80]):
        s.observe(log_backlog({"t": log((start, 100))}, {"g": {"t": {0: start}}}), float(now))
    assert shown_values(s, 2.0)("mq_messages_lost_total", **SUB) == 0
    assert shown_values(s, 2.0)("mq_consumed_messages_total", **SUB) == 80


def test_past_the_end_is_counted_when_it_begins() -> None:
    s = state()
    for now, position in enumerate([5, 90, 90, 7, 90]):
        s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: position}}}), float(now))
    shown = shown_values(s, 4.0)
    assert shown("mq_position_anomalies_total", **SUB, kind="past_end") == 2
    assert shown("mq_lag_messages", **POSITION) == 0


def test_produced_adds_nothing_until_a_log_end_that_went_back_is_regained() -> None:
    s = state()
    for now, end in enumerate([100, 110, 60, 105, 115]):
        s.observe(log_backlog({"t": log((0, end))}, {"g": {"t": {0: 0}}}), float(now))
    shown = shown_values(s, 4.0)
    assert shown("mq_produced_messages_total", destination="t", partition="0") == 15
    assert shown("mq_subscription_produced_messages_total", **SUB) == 15


def test_a_subscriptions_production_is_that_of_the_partitions_it_reads() -> None:
    s = state()
    for now, ends in enumerate([(10, 10), (13, 19)]):
        topic = log((0, ends[0]), (0, ends[1]))
        s.observe(log_backlog({"t": topic}, {"g": {"t": {1: 0}}}), float(now))
    assert shown_values(s, 1.0)("mq_subscription_produced_messages_total", **SUB) == 9


def test_a_topic_made_anew_starts_afresh_without_rewind_or_spike() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 1000))}, {"g": {"t": {0: 900}}}), 0.0)
    again = log_backlog({"t": log((0, 5))}, {"g": {"t": {0: 2}}}, recreated=frozenset({"t"}))
    s.observe(again, 1.0)
    s.observe(log_backlog({"t": log((0, 8))}, {"g": {"t": {0: 4}}}), 2.0)
    shown = shown_values(s, 2.0)
    assert shown("mq_lag_messages", **POSITION) == 4
    assert shown("mq_offset_rewinds_total", **SUB) == 0
    assert shown("mq_messages_lost_total", **SUB) == 0
    assert shown("mq_consumed_messages_total", **SUB) == 2
    assert shown("mq_produced_messages_total", destination="t", partition="0") == 3


def test_a_position_left_from_before_a_recreation_is_an_anomaly() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 1000))}, {"g": {"t": {0: 900}}}), 0.0)
    again = log_backlog({"t": log((0, 5))}, {"g": {"t": {0: 900}}}, recreated=frozenset({"t"}))
    s.observe(again, 1.0)
    assert shown_values(s, 1.0)("mq_position_anomalies_total", **SUB, kind="past_end") == 1


@pytest.mark.parametrize("unread", ["commit", "end", "group", "topic"])
def test_what_cannot_be_read_is_held_then_hidden_never_zero(unread: str) -> None:
    s = state()
    whole = log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 3}}})
    s.observe(whole, 0.0)
    part = {
        "commit": log_backlog({"t": log((0, 20))}, {"g": {"t": {0: None}}}),
        "end": log_backlog({"t": log((0, None))}, {"g": {"t": {0: 3}}}),
        "group": log_backlog({"t": log((0, 20))}, {}, states={"g": "stable"}),
        "topic": log_backlog({}, {"g": {"t": {0: 3}}}, logs_complete=False),
    }[unread]
    for now in (10.0, 100.0, 119.0):
        s.observe(part, now)
        assert shown_values(s, now)("mq_lag_messages", **POSITION) == 7
    s.observe(part, 121.0)
    assert shown_values(s, 121.0)("mq_lag_messages", **POSITION) is None
    s.observe(whole, 130.0)
    assert shown_values(s, 130.0)("mq_lag_messages", **POSITION) == 7
    assert shown_values(s, 130.0)("mq_consumed_messages_total", **SUB) == 0


def test_one_unreadable_partition_hides_no_other() -> None:
    s = state()
    commits = {"g": {"t": {0: 3, 1: 4}}}
    s.observe(log_backlog({"t": log((0, 10), (0, 10))}, commits), 0.0)
    s.observe(log_backlog({"t": log((0, None), (0, 12))}, commits), 200.0)
    shown = shown_values(s, 200.0)
    assert shown("mq_lag_messages", **POSITION) is None
    assert shown("mq_lag_messages", **SUB, partition="1") == 8


def test_movement_while_unreadable_is_added_when_it_is_read_again() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 3}}}), 0.0)
    s.observe(log_backlog({"t": log((0, None))}, {"g": {"t": {0: 9}}}), 10.0)
    s.observe(log_backlog({"t": log((0, 40))}, {"g": {"t": {0: 30}}}), 20.0)
    shown = shown_values(s, 20.0)
    assert shown("mq_produced_messages_total", destination="t", partition="0") == 30
    assert shown("mq_consumed_messages_total", **SUB) == 27


def test_a_topic_is_gone_after_two_complete_listings_without_it() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10)), "u": log((0, 1))}, {"g": {"t": {0: 3}}}), 0.0)
    without = log_backlog({"u": log((0, 1))}, {"g": {}})
    s.observe(without, 1.0)
    assert shown_values(s, 1.0)("mq_log_end_offset", destination="t", partition="0") == 10
    s.observe(without, 2.0)
    shown = shown_values(s, 2.0)
    assert {label for name, label in shown.values if '"t"' in label} == set()
    assert shown("mq_subscriptions_lost_total", reason="deleted") == 1
    assert s.topic_produced.values[0] == 10 - 10


def test_an_incomplete_listing_deletes_nothing() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 3}}}), 0.0)
    for now in range(1, 6):
        part = log_backlog({}, {}, states={}, logs_complete=False, groups_complete=False)
        s.observe(part, float(now))
    assert shown_values(s, 5.0)("mq_lag_messages", **POSITION) == 7


def test_a_group_is_gone_after_two_complete_listings_without_it() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 3}}}), 0.0)
    s.observe(log_backlog({"t": log((0, 10))}), 1.0)
    assert shown_values(s, 1.0)("mq_lag_messages", **POSITION) == 7
    s.observe(log_backlog({"t": log((0, 10))}), 2.0)
    shown = shown_values(s, 2.0)
    assert {label for _, label in shown.values if 'group="g"' in label} == set()
    assert shown("mq_subscriptions_lost_total", reason="deleted") == 1


def test_an_expired_position_goes_after_two_polls_and_counts_while_lagging() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10), (0, 5))}, {"g": {"t": {0: 3, 1: 5}}}), 0.0)
    one = log_backlog({"t": log((0, 10), (0, 5))}, {"g": {"t": {0: 3}}})
    s.observe(one, 1.0)
    assert shown_values(s, 1.0)("mq_lag_messages", **SUB, partition="1") == 0
    s.observe(one, 2.0)
    assert shown_values(s, 2.0)("mq_lag_messages", **SUB, partition="1") is None
    none = log_backlog({"t": log((0, 10), (0, 5))}, {"g": {}})
    s.observe(none, 3.0)
    s.observe(none, 4.0)
    shown = shown_values(s, 4.0)
    assert shown("mq_lag_messages", **POSITION) is None
    assert shown("mq_subscriptions_lost_total", reason="expired") == 1


def test_a_position_that_is_missing_once_is_not_forgotten() -> None:
    s = state()
    both = log_backlog({"t": log((0, 10), (0, 5))}, {"g": {"t": {0: 3, 1: 5}}})
    one = log_backlog({"t": log((0, 10), (0, 5))}, {"g": {"t": {0: 3}}})
    for now, step in enumerate([both, one, both, one, both]):
        s.observe(step, float(now))
        assert shown_values(s, float(now))("mq_lag_messages", **SUB, partition="1") == 0


def test_added_partitions_appear() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 3}}}), 0.0)
    s.observe(log_backlog({"t": log((0, 10), (0, 4))}, {"g": {"t": {0: 3, 1: 1}}}), 1.0)
    shown = shown_values(s, 1.0)
    assert shown("mq_lag_messages", **SUB, partition="1") == 3
    assert shown("mq_produced_messages_total", destination="t", partition="1") == 0


def test_a_group_that_never_commits_is_a_subscription_all_the_same() -> None:
    s = state()
    topic = {"t": log((2, 10), (0, 0), (0, 7))}
    s.observe(log_backlog(topic, {"g": {}}), 0.0)
    s.observe_members(Memberships({"g": members({"t": [0, 1, 2]})}), 0.0)
    shown = shown_values(s, 0.0)
    assert shown("mq_uncommitted_partitions", **SUB) == 2
    assert shown("mq_uncommitted_messages", **SUB) == 15
    assert shown("mq_consumers", **SUB) == 1
    s.observe(log_backlog(topic, {"g": {"t": {0: 2, 2: 7}}}), 1.0)
    shown = shown_values(s, 1.0)
    assert shown("mq_uncommitted_partitions", **SUB) == 0
    assert shown("mq_lag_messages", **POSITION) == 8


def test_a_group_that_leaves_without_a_commit_goes() -> None:
    s = state()
    topic = {"t": log((0, 10))}
    s.observe(log_backlog(topic, {"g": {}}), 0.0)
    s.observe_members(Memberships({"g": members({"t": [0]})}), 0.0)
    for now in (1.0, 2.0, 3.0):
        s.observe(log_backlog(topic, {"g": {}}, states={"g": "empty"}), now)
    assert shown_values(s, 3.0)("mq_consumers", **SUB) is None


def test_members_are_those_of_the_last_stable_poll_while_a_group_rebalances() -> None:
    s = state()
    topic, commits = {"t": log((0, 10))}, {"g": {"t": {0: 3}}}
    s.observe(log_backlog(topic, commits), 0.0)
    assert shown_values(s, 0.0)("mq_consumers", **SUB) is None
    s.observe_members(Memberships({"g": members({"t": [0]}, count=3)}), 0.0)
    s.observe(log_backlog(topic, commits, states={"g": "preparing_rebalance"}), 1.0)
    s.observe_members(Memberships({"g": members({}, count=0, state="preparing_rebalance")}), 1.0)
    shown = shown_values(s, 1.0)
    assert shown("mq_consumers", **SUB) == 3
    assert shown("mq_group_state", group="g", state="preparing_rebalance") == 1
    assert shown("mq_group_state", group="g", state="stable") == 0
    s.observe(log_backlog(topic, commits, states={"g": "empty"}), 2.0)
    shown = shown_values(s, 2.0)
    assert shown("mq_consumers", **SUB) == 0
    assert shown("mq_group_members", group="g") == 0


def test_rebalances_are_counted_when_seen_to_begin_or_by_what_they_changed() -> None:
    s = state()
    topic = {"t": log((0, 10))}

    def listed(group_state: str, now: float) -> None:
        s.observe(log_backlog(topic, {"g": {"t": {0: 3}}}, states={"g": group_state}), now)  # type: ignore[dict-item]

    def count() -> int | float | None:
        return shown_values(s, 9.0)("mq_group_rebalances_total", group="g")

    listed("stable", 0.0)
    s.observe_members(Memberships({"g": members({"t": [0]}, assignment=1)}), 0.0)
    assert count() == 0
    listed("preparing_rebalance", 1.0)
    listed("completing_rebalance", 2.0)
    assert count() == 1
    listed("stable", 3.0)
    s.observe_members(Memberships({"g": members({"t": [0]}, assignment=2)}), 3.0)
    assert count() == 1, "what the counted one changed is not another"
    s.observe_members(Memberships({"g": members({"t": [0]}, assignment=3)}), 4.0)
    assert count() == 2


def counted(*polls: Generations | GroupMembers | str | None) -> int:
    """Return the rebalances of a group by generations, descriptions and states, one a poll.

    The group is stable at first. None is a poll of the coordinators alone.
    """
    s = state()
    following = CommitStreamReport(following=True)
    group: GroupState = "stable"
    first = [members({"t": [0]}, assignment=1)]
    for at, poll in enumerate(["stable", *first, *polls]):
        if isinstance(poll, GroupMembers):
            s.observe_members(Memberships({"g": poll}), float(at))
            continue
        if isinstance(poll, str):
            group = poll  # type: ignore[assignment]
        found = {"g": poll} if isinstance(poll, Generations) else {}
        backlog = log_backlog(
            {"t": log((0, 10))},
            {"g": {"t": {0: 3}}},
            states={"g": group},
            generations=found,
            commit_stream=None if poll is None else following,
        )
        s.observe(backlog, float(at))
    return s.groups["g"].rebalances


def one(number: int, *, is_empty: bool = False) -> Generations:
    return Generations(number, is_empty, number, 0)


CHANGED = members({"t": [0]}, assignment=2)
OTHER = members({"t": [0]}, assignment=3)


@pytest.mark.parametrize(
    ("case", "polls", "expected"),
    [
        ("the first one is unknown, unless it changed something", [one(7)], 0),
        ("it changed something", [one(7), CHANGED], 1),
        ("it changed nothing", [one(7), members({"t": [0]})], 0),
        ("it was seen to begin", ["preparing_rebalance", one(7), "stable", CHANGED], 1),
        ("each later one counts", [one(7), CHANGED, one(8), one(11)], 5),
        ("also within a poll", [Generations(7, is_empty=False, last=9, rebalances=2)], 2),
        ("what they change is counted once", [one(7), CHANGED, one(8), OTHER], 2),
        ("their beginning, too", [one(7), "preparing_rebalance", one(8), "stable"], 1),
        ("a record without a new generation", [one(7), one(7)], 0),
        ("the last member leaves", [one(7), one(8, is_empty=True), "empty"], 0),
        ("and one joins", [one(7), one(8, is_empty=True), one(9)], 1),
        ("the group is there again", [one(7), one(1), one(2)], 1),
        (
            "one that was counted before its record was read",
            ["preparing_rebalance", "stable", CHANGED, one(7), one(8), OTHER],
            2,
        ),
        ("the same, by what it changed", [CHANGED, one(7), one(8), OTHER], 2),
        ("a first record that is no rebalance", [one(7), one(8), CHANGED], 1),
        ("undecoded", [one(7), "stable", CHANGED, OTHER], 1),
        (
            "the coordinators are asked again, and then not",
            [one(7), CHANGED, None, OTHER, one(12), one(13)],
            3,
        ),
    ],
)
def test_rebalances_by_generations(
    case: str, polls: list[Generations | GroupMembers | str | None], expected: int
) -> None:
    assert (case, counted(*polls)) == (case, expected)


def rejoining(
    *, settled: frozenset[str], now: frozenset[str], unassigned: frozenset[str]
) -> object:
    """The number of members that a rebalance waits for, compared with a settled poll."""
    s = state()
    one = members({"t": [0]})
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 3}}}), 0.0)
    s.observe_members(Memberships({"g": replace(one, members=settled)}), 0.0)
    rebalance = replace(one, state="preparing_rebalance", members=now, unassigned=unassigned)
    s.observe_members(Memberships({"g": rebalance}), 1.0)
    return s.groups["g"].rejoining


def test_a_rebalance_does_not_wait_for_members_that_joined_since() -> None:
    a, ab, abc = frozenset("a"), frozenset("ab"), frozenset("abc")
    assert rejoining(settled=a, now=ab, unassigned=frozenset("b")) == 1
    assert rejoining(settled=ab, now=abc, unassigned=frozenset("c")) == 2
    assert rejoining(settled=ab, now=ab, unassigned=frozenset("b")) == 2, "b had none before either"
    assert rejoining(settled=a, now=ab, unassigned=frozenset()) == 2, "b joined unseen, and settled"
    assert rejoining(settled=a, now=ab, unassigned=ab) is None, "this broker shows no partitions"


def test_who_reads_is_not_known_of_a_group_first_seen_without_partitions_in_a_rebalance() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: 3}}}), 0.0)
    s.observe_members(Memberships({"g": members({}, count=2, state="preparing_rebalance")}), 0.0)
    shown = shown_values(s, 0.0)
    assert shown("mq_group_members", group="g") == 2
    assert shown("mq_consumers", **SUB) is None


def test_the_margin_to_retention_is_the_smallest() -> None:
    s = state()
    s.observe(log_backlog({"t": log((5, 50), (0, 50))}, {"g": {"t": {0: 12, 1: 40}}}), 0.0)
    assert shown_values(s, 0.0)("mq_retention_margin_messages", **SUB) == 7


def test_rates_are_movement_over_time_within_the_window() -> None:
    s = state()
    for step in range(10):
        s.observe(
            log_backlog({"t": log((0, 100 * step))}, {"g": {"t": {0: 40 * step}}}), 10.0 * step
        )
    shown = shown_values(s, 90.0)
    assert shown("mq_produced_messages_per_second", destination="t", partition="0") == 10.0
    assert shown("mq_subscription_produced_messages_per_second", **SUB) == 10.0
    assert shown("mq_consumed_messages_per_second", **SUB) == 4.0


def test_there_is_no_rate_without_history() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 100))}, {"g": {"t": {0: 40}}}), 0.0)
    assert shown_values(s, 0.0)("mq_consumed_messages_per_second", **SUB) is None


def test_a_subscription_as_a_whole_has_sums_and_is_left_out_where_a_part_is_unknown() -> None:
    view = View(hold=120.0, max_series=1_000, per_partition=False)
    s = state()
    commits = {"g": {"t": {0: 3, 1: 4}}}
    s.observe(log_backlog({"t": log((0, 10), (0, 10))}, commits), 0.0)
    shown = shown_values(s, 0.0, view)
    assert shown("mq_lag_messages", **SUB) == 13
    assert shown("mq_committed_offset", **SUB) == 7
    assert shown("mq_log_end_offset", destination="t") == 20
    s.observe(log_backlog({"t": log((0, None), (0, 12))}, commits), 200.0)
    shown = shown_values(s, 200.0, view)
    assert shown("mq_lag_messages", **SUB) is None
    assert shown("mq_log_end_offset", destination="t") is None


def test_past_the_limit_whole_subscriptions_are_left_out_the_least_lagging_first() -> None:
    s = state()
    groups = {f"g{index}": {"t": {0: 10 - index}} for index in range(10)}
    s.observe(log_backlog({"t": log((0, 10))}, groups), 0.0)
    own = 10
    kept = SOURCE_KEPT + 1 + 10 * TIME_KEPT
    everything = shown_values(s, 0.0).shown.series + kept
    most = everything - 2 * (own + TIME_KEPT)
    shown = shown_values(s, 0.0, View(hold=120.0, max_series=most, per_partition=True))
    lagging = {
        group
        for group in groups
        if shown("mq_lag_messages", destination="t", group=group, partition="0") is not None
    }
    assert lagging == {f"g{index}" for index in range(2, 10)}
    assert shown.shown.series == most - kept + 2 * TIME_KEPT
    assert shown.shown.dropped == 2 * (own + TIME_KEPT)


def test_a_limit_keeps_the_worst_subscription_with_its_topic_and_group() -> None:
    s = state()
    topics = {f"t{index}": log((0, 100)) for index in range(30)}
    groups = {f"g{index}": {f"t{index}": {0: 100 - index}} for index in range(30)}
    s.observe(log_backlog(topics, groups), 0.0)
    shown = shown_values(s, 0.0, View(hold=120.0, max_series=70, per_partition=True))
    worst = {"destination": "t29", "partition": "0"}
    assert shown("mq_lag_messages", **worst, group="g29") == 29
    assert shown("mq_log_end_offset", **worst) == 100
    assert shown("mq_group_state", group="g29", state="stable") == 1
    everything = shown_values(s, 0.0).shown.series + 30 * (1 + TIME_KEPT) + SOURCE_KEPT
    destinations = {label for name, label in shown.values if name == "mq_log_end_offset"}
    subs = {label for name, label in shown.values if name == "mq_consumed_messages_total"}
    with_time = shown.shown.series + len(destinations) + TIME_KEPT * len(subs) + SOURCE_KEPT
    assert with_time <= 70
    assert shown.shown.dropped == everything - with_time


def test_a_shown_subscription_stays_until_another_lags_clearly_more() -> None:
    s = state()
    both = View(hold=120.0, max_series=10_000, per_partition=True)
    for now, (a, b, stays) in enumerate([(100, 90, "a"), (100, 110, "a"), (100, 140, "b")]):
        commits = {"a": {"t": {0: 1000 - a}}, "b": {"t": {0: 1000 - b}}}
        s.observe(log_backlog({"t": log((0, 1000))}, commits), float(now))
        if now == 0:
            tight = replace(both, max_series=show(s, both, 0.0).series - 1)
        # Counters and rates appear later: leave room for those of one subscription, not of two.
        shown = shown_values(s, float(now), replace(tight, max_series=tight.max_series + 2 * now))
        found = [
            group
            for group in ("a", "b")
            if shown("mq_lag_messages", destination="t", group=group, partition="0") is not None
        ]
        assert found == [stays]


def test_a_vanished_node_stays_down_for_a_day() -> None:
    s = state()
    s.observe(log_backlog({}, nodes={"k1:9092": True, "k2:9092": True}), 0.0)
    s.observe(log_backlog({}, nodes={"k1:9092": True}), 10.0)
    assert {name: node.up for name, node in s.nodes.items()} == {"k1:9092": True, "k2:9092": False}
    s.observe(log_backlog({}, nodes={"k1:9092": True}), 86_411.0)
    assert set(s.nodes) == {"k1:9092"}


def test_state_of_what_is_gone_is_dropped() -> None:
    s = state()
    for cycle in range(100):
        name = f"t{cycle // 4}"
        s.observe(
            log_backlog({name: log((0, 9))}, {f"g{cycle // 4}": {name: {0: 1}}}), float(cycle)
        )
    assert len(s.topics) <= 2
    assert len(s.groups) <= 2
    assert len(s.subscriptions) <= 2
    assert len(s.consumed.values) <= 3


def test_a_share_group_is_not_drained_by_what_can_not_be_read_after_its_position() -> None:
    """Nine of ten records are processed and the offset is 10; the first record may be left."""
    s = state()
    drained = {("t", 0, False): (9, 10)}
    commits = {"g": {"t": {0: 9}}, "h": {"t": {0: 9}}}
    s.observe(
        log_backlog({"t": log((0, 10))}, commits, drained=drained, shared=frozenset({"g"})), 0.0
    )
    shown = shown_values(s, 0.0)
    assert shown("mq_lag_messages", **POSITION) == 1
    assert shown("mq_lag_messages", destination="t", group="h", partition="0") == 0


def test_an_age_has_no_bound_where_there_may_be_an_older_message() -> None:
    s = state()
    commits = {"g": {"t": {0: 5}}, "h": {"t": {0: 5}}}
    s.observe(log_backlog({"t": log((0, 10))}, commits, vague=frozenset({("g", "t")})), 0.0)
    stamps = Stamps([0], [90.0], [0.5], "record")
    s.observe_times(LogTimes(100.0, {("g", "t"): stamps, ("h", "t"): stamps}, {}), 0.0, 120.0)
    vague, certain = (s.subscriptions[group, "t"].ages for group in ("g", "h"))
    assert (vague.largest(), vague.uncertainty) == (10.0, None)
    assert (certain.largest(), certain.uncertainty) == (10.0, 0.501)
