"""What did not change is not computed again, and the result is the same as if it were."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from exporter.analysis.judging import Judging
from exporter.analysis.logs.source_state import LogSourceState
from exporter.analysis.logs.subscription import LogSubscription
from exporter.collectors.kafka.ages.estimates import Estimate
from exporter.collectors.kafka.ages.heads import HeadsTable, Wanted, wanted_points
from exporter.collectors.kafka.ages.movements import Movement
from exporter.collectors.kafka.ages.stamp_table import StampTable
from exporter.judgement.judge import Judge
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import (
    Log,
    LogBacklog,
    LogTimes,
    Memberships,
    Method,
    Positions,
    Retention,
    Stamps,
)
from tests.support.observations import VIEW, log, log_backlog, members, state

TOPICS, PARTITIONS, GROUPS = ("t", "u"), 3, ("a", "b", "c")
POLLS = 60
HOLD = 35.0
EPOCH = 1_700_000_000.0


class Cluster:
    """Positions and logs that change at random. In most polls, most of them do not change."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.logs = {topic: Log([0] * 3, [50] * 3, [50] * 3) for topic in TOPICS}
        self.positions = {
            name: Positions(name, {t: dict.fromkeys(range(PARTITIONS), 10) for t in TOPICS})
            for name in GROUPS
        }
        self.stamps: dict[tuple[str, str], Stamps] = {}
        self.drained: dict[tuple[str, int, bool], tuple[int, int]] = {}

    def happen(self) -> None:
        """Let one thing happen, or nothing."""
        chance, topic, group = self.random.random(), self._one(TOPICS), self._one(GROUPS)
        partition = self.random.randrange(PARTITIONS)
        if chance < 0.5:
            return
        if chance < 0.7:
            self._commit(group, topic, partition)
        elif chance < 0.85:
            self._produce(topic, partition)
        elif chance < 0.9:
            self.drained = {} if self.drained else {(topic, partition, False): (0, 1_000)}
        elif chance < 0.95:
            self.positions[group] = Positions(group, {topic: {partition: 5}})
        else:
            unread: Log = self.random.choice(
                [Log([None] * 3, [None] * 3, [None] * 3), self._part()]
            )
            self.logs[topic] = unread

    def catch_up(self) -> None:
        """Let all groups read all messages."""
        self.logs = {topic: Log([0] * 3, [90] * 3, [90] * 3) for topic in TOPICS}
        self.positions = {
            name: Positions(name, {t: dict.fromkeys(range(PARTITIONS), 90) for t in TOPICS})
            for name in GROUPS
        }

    def _part(self) -> Log:
        """A log with a partition that cannot be read."""
        return Log([0, None, 0], [50, None, 70], [50, None, 70])

    def _one(self, names: tuple[str, ...]) -> str:
        return self.random.choice(names)

    def _commit(self, group: str, topic: str, partition: int) -> None:
        offsets = copy.deepcopy(dict(self.positions[group].offsets))
        found = self.random.choice([None, self.random.randrange(80)])
        offsets[topic] = {**offsets.get(topic, {}), partition: found}
        self.positions[group] = Positions(group, offsets)

    def _produce(self, topic: str, partition: int) -> None:
        ends = [60 if end is None else end for end in self.logs[topic].end]
        ends[partition] += self.random.randrange(20)
        starts = [self.random.choice([0, 0, 8]) for _ in ends]
        self.logs[topic] = Log(starts, ends, [end - 1 for end in ends])

    def backlog(self) -> LogBacklog:
        return LogBacklog(
            dict(self.logs),
            dict(self.positions),
            dict.fromkeys(GROUPS, "stable"),
            logs_complete=True,
            groups_complete=True,
            read_committed=frozenset({"c"}),
            drained=self.drained,
        )

    def times(self, at: float) -> LogTimes:
        """Times of some subscriptions. Those of before are the same objects."""
        for group, positions in self.positions.items():
            for topic, offsets in positions.offsets.items():
                if (group, topic) in self.stamps and self.random.random() < 0.7:
                    continue
                partitions = sorted(offsets)
                self.stamps[group, topic] = Stamps(
                    partitions,
                    [self.random.choice([EPOCH + p, at + 5, math.inf]) for p in partitions],
                    [self.random.choice([0.0, 0.25, -1.0]) for _ in partitions],
                    "time_index",
                )
        return LogTimes(at, dict(self.stamps), {})


def seen(found: LogSourceState, now: float) -> dict[tuple[str, str], Any]:
    families = [*found.show(replace(VIEW, hold=HOLD), now).families, *found.show_ages(VIEW)]
    moved = {
        ("moved", sub.label): list(sub.positions.moved_at) for sub in found.subscriptions.values()
    }
    return moved | {
        (each.name, label): value
        for each in families
        for label, value in zip(each.labels, each.values, strict=True)
    }


def copied(given: LogBacklog) -> LogBacklog:
    """Return an equal backlog of other objects, so that nothing looks unchanged by identity."""
    positions: Mapping[str, Positions] = copy.deepcopy(dict(given.positions))
    return replace(given, logs=copy.deepcopy(dict(given.logs)), positions=positions)


@pytest.mark.parametrize("seed", range(40))
def test_the_same_objects_give_the_same_as_equal_ones(seed: int) -> None:
    cluster, quick, slow = Cluster(seed), state(), state()
    for poll in range(POLLS):
        now = 10.0 * poll
        cluster.happen()
        backlog = cluster.backlog()
        quick.accept(backlog, now, HOLD)
        slow.accept(copied(backlog), now, HOLD)
        for each in (quick, slow):
            each.set_retention(dict.fromkeys(TOPICS, Retention(3_600.0, None)))
        times = cluster.times(EPOCH + now)
        quick.accept(times, now, HOLD)
        slow.accept(copy.deepcopy(times), now, HOLD)
        assert seen(quick, now) == seen(slow, now)


def test_most_polls_of_the_test_change_nothing_in_most_subscriptions() -> None:
    """Otherwise the test above would compare nothing."""
    cluster, found, stayed = Cluster(1), state(), 0
    for poll in range(POLLS):
        cluster.happen()
        found.accept(cluster.backlog(), 10.0 * poll, HOLD)
        stayed += sum(
            sub.topic.same and sub._followed is not None for sub in found.subscriptions.values()
        )
    assert stayed > POLLS


def test_offsets_that_stay_the_same_are_held_from_their_last_reading() -> None:
    found, whole = state(), Log([0] * 2, [50] * 2, [50] * 2)
    for now in (0.0, 40.0):
        found.accept(log_backlog({"t": whole}), now, HOLD)
    found.accept(log_backlog({"t": Log([0, None], [50, None], [50, None])}), 60.0, HOLD)
    labels = [label for name, label in seen(found, 60.0) if name == "mq_log_end_offset"]
    assert len(labels) == 2
    assert len([name for name, _ in seen(found, 76.0) if name == "mq_log_end_offset"]) == 1


def estimates_of(wanted: Wanted, chance: random.Random) -> dict[tuple[str, int], Any]:
    """Times of most of the wanted offsets."""
    return {
        key: {
            point: Estimate(EPOCH + point[0], 0.5, read=point[0] % 2 == 0)
            for point in points
            if chance.random() < 0.9
        }
        for key, points in wanted.items()
    }


@pytest.mark.parametrize("seed", range(20))
def test_heads_and_stamps_are_those_of_new_tables(seed: int) -> None:
    cluster = Cluster(seed)
    table, stamps = HeadsTable(), StampTable(_method)
    estimates: dict[tuple[str, int], Any] = {}
    kept = 0
    for _ in range(POLLS):
        cluster.happen()
        backlog = cluster.backlog()
        found = table.observe(backlog)
        assert found == HeadsTable().observe(backlog)
        wanted = table.wanted(found.values(), ())
        assert wanted == wanted_points(found.values())
        movement = Movement(("a", "t"), "t", 1, 7, EPOCH)
        assert (7, False) in table.wanted(found.values(), [movement])["t", 1]
        made = estimates_of(wanted, cluster.random)
        for key in made.keys() & estimates.keys():
            # An estimate that is equal is the same object, as in `PartitionTimes`.
            made[key] = estimates[key] if made[key] == estimates[key] else made[key]
        kept += sum(made[key] is estimates.get(key) for key in made)
        estimates = made
        assert stamps.observe(found, made) == StampTable(_method).observe(found, made)
    assert kept > POLLS


def test_offsets_of_a_topic_that_is_gone_are_not_wanted() -> None:
    """Not even if the times of its records were computed at each poll."""
    logs = {"t": log((0, 9), (0, 9)), "u": log((0, 9))}
    commits = {"g": {"t": {0: 4, 1: 4}}, "h": {"u": {0: 4}}}
    table = HeadsTable()
    found = table.observe(log_backlog(logs, commits, drained={("t", 0, False): (4, 9)}))
    assert table.wanted(found.values(), ()).keys() == {("t", 1), ("u", 0)}
    del logs["t"], commits["g"]
    found = table.observe(log_backlog(logs, commits))
    assert table.wanted(found.values(), ()).keys() == {("u", 0)}


def test_a_partition_without_an_offset_becomes_unreadable_in_time() -> None:
    found, judging = state(), Judging("kafka", "s", ThresholdTable(), hold=120.0)
    found.observe_members(Memberships({"g": members({"t": [0, 1]})}), 0.0)
    backlog = log_backlog({"t": log((0, 9), (0, 0))}, {"g": {"t": {0: 9}}})
    part = replace(backlog, logs={"t": log((0, 9), (None, None))})
    for poll in range(60):
        now = 5.0 * poll
        found.accept(backlog if poll < 30 else part, now, 120.0)
        judging.judge(found, now, EPOCH + now)
        (sub,) = found.subscriptions.values()
        seen_as = sub.unreadable(120.0, now)
        assert (sub.judge.status == "unknown") == (poll == 0 or seen_as > 0), now


def test_a_group_of_which_more_is_known_is_judged() -> None:
    found = state()
    given = log_backlog({"t": log((0, 9))}, {"g": {"t": {0: 9}}}, states={"g": "empty"})
    found.accept(given, 0.0, HOLD)
    found.accept(given, 10.0, HOLD)
    group = found.groups["g"]
    assert group.told_at == 0.0
    found.accept(replace(given, subscribing=frozenset({"g"})), 20.0, HOLD)
    assert group.told_at == 20.0
    found.accept(replace(given, subscribing=frozenset({"g"})), 30.0, HOLD)
    assert group.told_at == 20.0


def _method(read: bool) -> Method:
    return "record" if read else "time_index"


@pytest.mark.parametrize("seed", range(30))
def test_a_subscription_at_rest_is_judged_as_if_it_were_judged_at_each_poll(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With long quiet times, members that come and go, and thresholds that change."""
    cluster = Cluster(seed)
    chance = random.Random(seed)
    made = [(state(), Judging("kafka", "s", ThresholdTable(), HOLD)) for _ in range(2)]
    rested = 0
    for poll in range(4 * POLLS):
        now, quiet = 10.0 * poll, poll // 30 % 2
        if not quiet:
            cluster.happen()
            cluster.drained = {}
        elif poll % 30 == 0 and chance.random() < 0.7:
            cluster.catch_up()
        backlog = cluster.backlog()
        described = Memberships({}) if quiet else memberships(chance)
        table = chance.random() < 0.01
        given: list[list[Any]] = []
        for number, (found, judging) in enumerate(made):
            if table:
                judging.set_table(ThresholdTable())
            found.accept(backlog, now, HOLD)
            found.observe_members(described, now)
            with monkeypatch.context() as patch:
                if number:
                    patch.setattr(Judge, "rests", lambda *_: False)
                judging.judge(found, now, EPOCH + now)
            given.append([told(sub) for sub in found.subscriptions.values()])
        rested += sum(sub.judge._judged_at < now for sub in made[0][0].subscriptions.values())
        for quick, slow in zip(*given, strict=True):
            assert quick == slow, now
    assert rested > POLLS / 2


def memberships(chance: random.Random) -> Memberships:
    if chance.random() < 0.8:
        return Memberships({})
    assigned = chance.choice([{}, {"t": [0, 1, 2]}, {"t": [0], "u": [1, 2]}])
    return Memberships({chance.choice(GROUPS): members(assigned, count=chance.randrange(3))})


def told(sub: LogSubscription) -> tuple[Any, ...]:
    judge = sub.judge
    return (
        *(sub.label, judge.status, judge.since, judge.reason),
        *(judge.cause, judge.time_to_drain, judge._progress.moved_at),
    )
