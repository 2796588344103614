"""The evidence includes only what could be read."""

from __future__ import annotations

from exporter.analysis.judging import Judging
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import GroupState, Memberships
from tests.support.observations import log, log_backlog, members, state


def test_what_can_not_be_read_does_not_stand_still() -> None:
    """The partition has no leader: its end is unknown, the group's offset is known."""
    s, judging = state(), Judging("kafka", "s", ThresholdTable())
    statuses = []
    for at in range(0, 700, 10):
        end, position = (1_000 + at * 5, 900 + at * 4) if at < 200 else (None, 1_700)
        s.observe(log_backlog({"t": log((0, end))}, {"g": {"t": {0: position}}}), float(at))
        judging.judge(s, float(at), float(at))
        (subscription,) = s.subscriptions.values()
        statuses.append(subscription.judge.status)
    assert "stalled" not in statuses
    assert statuses[-1] == "unknown"
    assert subscription.judge.causes == ()
    assert subscription.judge.time_to_drain is None


def test_a_part_that_can_not_be_read_makes_the_whole_unknown() -> None:
    """The known lag on partition 0 is 20; partition 1 has no leader and 1,970 unread messages."""
    s, judging = state(), Judging("kafka", "s", ThresholdTable(), hold=120.0)
    statuses = {}
    for at in range(0, 700, 10):
        end = 2_000 if at < 100 else None
        commits = {"g": {"t": {0: 80, 1: 30}}}
        s.observe(log_backlog({"t": log((0, 100), (0, end))}, commits), float(at))
        judging.judge(s, float(at), float(at))
        (subscription,) = s.subscriptions.values()
        statuses[at] = subscription.judge.status
    assert statuses[200] == "lagging", "held for two minutes"
    assert {statuses[at] for at in range(230, 700, 10)} == {"unknown"}
    judge = subscription.judge
    assert (judge.reason or "").startswith("1 partition cannot be read")
    assert (judge.causes, judge.time_to_drain) == ((), None)


def test_a_group_that_never_commits_is_uncommitted() -> None:
    """As far as is known, it may have read all 5,000 messages."""
    s, judging = state(), Judging("kafka", "s", ThresholdTable())
    s.observe_members(Memberships({"g": members({"t": [0]}, count=2)}), 0.0)
    statuses = set()
    for at in range(0, 700, 10):
        s.observe(log_backlog({"t": log((0, 10 + at * 7))}, {"g": {}}), float(at))
        s.observe_members(Memberships({"g": members({"t": [0]}, count=2)}), float(at))
        judging.judge(s, float(at), float(at))
        (subscription,) = s.subscriptions.values()
        statuses.add(subscription.judge.status)
    assert statuses == {"unknown", "uncommitted"}
    judge = subscription.judge
    assert (judge.status, judge.causes) == ("uncommitted", ())
    assert "has never committed an offset" in (judge.reason or "")


def test_a_partition_that_stands_still_is_named() -> None:
    s, judging = state(), Judging("kafka", "s", ThresholdTable())
    s.observe_members(Memberships({"g": members({"t": [0, 1]}, count=2)}), 0.0)
    for at in range(0, 900, 10):
        commits = {"g": {"t": {0: 10 * at, 1: 50}}}
        logs = {"t": log((0, 10 * at + 5), (0, 50 + 5 * at))}
        s.observe(log_backlog(logs, commits), float(at))
        judging.judge(s, float(at), float(at))
    (subscription,) = s.subscriptions.values()
    (cause, evidence), *_ = subscription.judge.causes
    assert cause == "uneven_partitions"
    assert evidence.startswith("partition 1 has not moved for 15 minutes while others move")


def test_a_rebalance_has_lasted_since_the_first_poll_that_saw_it() -> None:
    """Messages processed before that poll do not end it; a settled group does."""
    s, judging = state(), Judging("kafka", "s", ThresholdTable())
    s.observe_members(Memberships({"g": members({"t": [0]})}), 0.0)

    def cause(at: int, group_state: GroupState, position: int) -> str | None:
        commits = {"g": {"t": {0: position}}}
        s.observe(
            log_backlog({"t": log((0, 9_000))}, commits, states={"g": group_state}), float(at)
        )
        judging.judge(s, float(at), float(at))
        (subscription,) = s.subscriptions.values()
        return subscription.judge.cause

    for at in range(0, 100, 10):
        cause(at, "stable", at)
    causes = [cause(at, "preparing_rebalance", 95) for at in range(100, 160, 10)]
    assert causes == [causes[0]] * 2 + ["rebalancing"] * 4
    assert causes[0] != "rebalancing"
    assert cause(160, "stable", 95) != "rebalancing"
    assert cause(170, "preparing_rebalance", 95) != "rebalancing", "another one, seen just now"


def test_more_members_can_help_a_share_group_than_there_are_partitions() -> None:
    s, judging = state(), Judging("kafka", "s", ThresholdTable())
    s.observe_members(Memberships({"g": members({"t": [0]}, count=3)}), 0.0)
    for at in range(0, 600, 10):
        commits = {"g": {"t": {0: at * 5}}}
        shared = frozenset({"g"})
        s.observe(log_backlog({"t": log((0, 2_000 + at * 10))}, commits, shared=shared), float(at))
        judging.judge(s, float(at), float(at))
    (subscription,) = s.subscriptions.values()
    (cause,) = subscription.judge.causes
    assert cause.name == "too_few_consumers"
    assert cause.evidence.startswith("3 consumers: ")
