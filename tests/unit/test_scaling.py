"""The scaling advice: what one consumer can do, how many are needed, and when to hold still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from bench.scaling.__main__ import SETTINGS, WAYS, run, ways_for
from bench.scaling.ways import OUR_PERCENT, OUR_PODS, Ours
from bench.scaling.world import Setting, World
from exporter.scaling.advisor import HELD, Advice, Advisor, Memory
from exporter.scaling.calm import FREE_STEP, LARGEST_STEP_OUT
from exporter.scaling.capacity import Capacity
from exporter.scaling.load import HOLDS, Hold, Load, PartitionLoad
from exporter.scaling.packing import bins_for, evenly_for
from exporter.scaling.policy import PolicyLine, PolicyTable, ScalingPolicy, Weights
from exporter.scaling.saturation import Saturation
from exporter.scaling.score import score

POLICY = ScalingPolicy(minimum=1, maximum=20)
POLL = 10.0


def load(at: float = 0.0, **more: object) -> Load:
    given: dict[str, object] = {
        "lag": 0,
        "age": 0.0,
        "produced": 0,
        "consumed": 0,
        "produced_rate": 0.0,
        "consumed_rate": 0.0,
        "consumers": 1,
        **more,
    }
    return Load(at, **given)  # type: ignore[arg-type]


class Group:
    """Consumers of a fixed capacity that follow the advice at once."""

    def __init__(self, capacity: float, consumers: int = 1, limit: float = 1e9) -> None:
        self.capacity, self.consumers, self.limit = capacity, consumers, limit
        self.advisor = Advisor()
        self.now = self.produced = self.consumed = 0.0
        self.advice: list[Advice | None] = []

    def play(self, seconds: float, rate: float, *, follow: bool = True, **more: object) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += POLL
            self.produced += rate * POLL
            most = min(self.capacity * self.consumers, self.limit) * POLL
            done = min(most, self.produced - self.consumed)
            self.consumed += done
            facts = {
                "lag": int(self.produced - self.consumed),
                "produced": int(self.produced),
                "consumed": int(self.consumed),
                "produced_rate": rate,
                "consumed_rate": done / POLL,
                "consumers": self.consumers,
                **more,
            }
            advice = self.advisor.observe(load(self.now, **facts), POLICY)
            self.advice.append(advice)
            if follow and advice is not None:
                self.consumers = advice.consumers

    @property
    def numbers(self) -> list[int]:
        return [each.consumers for each in self.advice if each is not None]

    @property
    def holds(self) -> set[Hold | None]:
        return {each.held for each in self.advice if each is not None}


def test_a_consumer_without_a_backlog_shows_demand_and_no_capacity() -> None:
    capacity = Capacity()
    for step in range(60):
        capacity.observe(load(step * POLL, consumed=100 * step, lag=3), 10.0)
    assert capacity.value is None


def test_the_capacity_is_learned_from_a_backlog_and_kept_while_idle() -> None:
    group = Group(capacity=50.0)
    group.play(120, 80.0, follow=False)
    assert group.advisor.capacity.value == pytest.approx(50, rel=0.05)
    group.play(3_600, 5.0, follow=False)
    assert group.advisor.capacity.value == pytest.approx(50, rel=0.05)


def test_polls_during_a_rebalance_or_a_change_are_left_out() -> None:
    capacity = Capacity()
    for step in range(60):
        facts = {"consumed": 500 * step, "lag": 5_000, "rebalances": step}
        capacity.observe(load(step * POLL, **facts), 50.0)
    assert capacity.value is None


def test_enough_consumers_carry_the_load_and_drain_in_time() -> None:
    group = Group(capacity=50.0)
    group.play(300, 180.0)
    group.play(1_200, 180.0)
    assert group.consumers == 4
    assert group.advice[-1] is not None
    assert "180/s come in" in group.advice[-1].reason
    assert group.produced - group.consumed < 5


def test_consumers_are_removed_once_and_not_added_again() -> None:
    group = Group(capacity=50.0)
    group.play(1_500, 400.0)
    before = group.consumers
    group.play(3_000, 120.0)
    later = group.numbers[150:]
    assert before >= 8
    assert group.consumers == 3
    assert later == sorted(later, reverse=True), "no reversal"


def test_nothing_is_removed_before_the_cooldown_and_added_only_after_it() -> None:
    group = Group(capacity=50.0)
    group.play(1_500, 400.0)
    last = group.numbers[-1]
    group.play(POLICY.cooldown_in - 60, 50.0)
    assert set(group.numbers[150:]) == {last}


@pytest.mark.parametrize("hold", ["retry_loop", "paused", "open_transaction"])
def test_what_consumers_do_not_cure_holds(hold: Hold) -> None:
    group = Group(capacity=50.0)
    group.play(300, 80.0)
    before = group.consumers
    group.play(600, 500.0, blocked=hold)
    assert group.consumers == before
    assert group.advice[-1] is not None
    assert group.advice[-1].held == hold


def test_a_blind_monitor_keeps_the_last_advice_and_says_so() -> None:
    group = Group(capacity=50.0)
    group.play(900, 180.0)
    before = group.consumers
    group.play(600, 0.0, lag=None)
    assert group.consumers == before
    assert group.advice[-1] is not None
    assert group.advice[-1].held == "blind"
    assert Advisor().observe(load(lag=None, consumers=None), POLICY) is None, "no number at all"


def test_consumers_that_do_not_help_are_taken_back_and_held() -> None:
    """The database behind them processes 100 a second, however many ask it."""
    group = Group(capacity=50.0, limit=100.0)
    group.play(600, 150.0)
    assert "saturated" in group.holds
    assert group.consumers <= 4
    group.play(3_000, 150.0)
    assert max(group.numbers[60:]) <= 8, "one trial at a time, after a hold that grows"
    assert sum(number > 4 for number in group.numbers[60:]) < 60


@pytest.mark.parametrize(("lag", "limit"), [(0, None), (1, None), (40, None), (600, 2)])
def test_a_throughput_without_a_backlog_is_demand_and_no_limit(lag: int, limit: int | None) -> None:
    """The load has fallen since consumers were added."""
    saturation = Saturation()
    saturation.changed(load(0.0, lag=600), load(1.0, lag=600, consumers=8), 20.0)
    saturation.observe(load(60.0, lag=lag, consumers=8), 25.0, 20.0)
    assert saturation.limit == limit


def test_one_hot_partition_is_named_and_held() -> None:
    hot = [PartitionLoad("0", 90_000, 200.0), *(PartitionLoad(str(n), 0, 1.0) for n in range(1, 6))]
    group = Group(capacity=50.0)
    group.play(600, 80.0, follow=False, max_consumers=6)
    group.consumers = 6
    group.play(60, 205.0, follow=False, max_consumers=6, partitions=lambda: hot)
    assert group.advice[-1] is not None
    assert group.advice[-1].held == "hot_partition"
    assert group.advice[-1].consumers <= 6


def test_never_more_consumers_than_can_share_the_work() -> None:
    group = Group(capacity=50.0)
    group.play(1_500, 900.0, max_consumers=4)
    assert group.consumers <= 4


@pytest.mark.parametrize(
    ("sizes", "packed", "dealt"),
    [
        ([10, 10, 10, 10], 1, 1),
        ([30, 30, 30, 30], 4, 4),
        ([25, 25, 25, 25], 2, 2),
        ([40, 5, 5, 5, 5, 5, 5, 5], 2, 3),
        ([0, 0, 0, 45], 1, 1),
        ([120, 1], 2, 2),
        ([], 0, 1),
    ],
)
def test_partitions_are_packed(sizes: Sequence[float], packed: int, dealt: int) -> None:
    assert bins_for(sizes, 50.0) == packed
    assert evenly_for(sizes, 50.0) == dealt


def test_the_score_is_one_at_the_targets() -> None:
    at_target = {"lag": 1_000, "age": 5.0, "produced_rate": 8.0, "consumed_rate": 8.0}
    targets = {"lag_target": 1_000, "age_target": 5.0}
    assert score(load(**at_target, **targets), Weights()) == pytest.approx(1.0)
    assert score(load(**{**at_target, "lag": 2_000}, **targets), Weights()) == pytest.approx(1.4)
    assert score(load(**at_target), Weights(rate=0.0)) is None, "nothing has a target"


def test_the_first_line_that_matches_applies() -> None:
    table = PolicyTable(
        [
            PolicyLine({"group": "billing-.*"}, {"maximum": 3}),
            PolicyLine({"system": "kafka"}, {"maximum": 7}),
        ]
    )
    first = table.of_subscription("kafka", "shop", None, "orders", "billing-eu")
    second = table.of_subscription("kafka", "shop", None, "orders", "other")
    assert first is not None
    assert first.maximum == 3
    assert second is not None
    assert second.maximum == 7
    assert table.of_subscription("nsq", "events", None, "clicks", "archive") is None


def test_messages_that_wait_for_the_next_commit_are_no_backlog() -> None:
    """Four consumers that keep up with 100/s: the lag is what came since the last commit."""
    capacity = Capacity()
    for poll in range(60):
        at = poll * POLL
        committed = int(at // 30) * 3_000
        capacity.observe(
            load(
                at,
                consumers=4,
                produced=int(100 * at) + 3_000,
                consumed=committed,
                lag=int(100 * at) + 3_000 - committed,
                produced_rate=100.0,
                consumed_rate=100.0,
                commit_interval=30.0,
            ),
            0.0,
        )
    assert capacity.value is None


@pytest.mark.parametrize("interval", [5.0, 10.0, 30.0])
def test_a_capacity_is_learned_over_several_commits(interval: float) -> None:
    """Two consumers of 50/s each, with an endless backlog."""
    capacity = Capacity()
    for poll in range(60):
        at = poll * POLL
        consumed = int(at // interval * interval) * 100
        capacity.observe(
            load(at, consumers=2, consumed=consumed, lag=10**6, commit_interval=interval), 0.0
        )
    assert capacity.value == pytest.approx(50.0, rel=0.34)


def test_a_single_active_consumer_is_said_and_held() -> None:
    group = Group(capacity=50.0)
    group.play(600, 120.0, max_consumers=1, lag_target=1_000)
    advice = group.advisor.last
    assert advice is not None
    assert (advice.consumers, advice.held) == (1, "single_consumer")


def test_more_than_the_partitions_or_the_maximum_is_said_and_held() -> None:
    parts = [PartitionLoad(str(n), 50_000, 60.0) for n in range(2)]
    group = Group(capacity=50.0, consumers=2)
    group.play(600, 200.0, max_consumers=2, partitions=lambda: parts)
    assert group.advisor.last is not None
    assert group.advisor.last.consumers == 2
    assert group.advisor.last.held in ("partitions", "hot_partition")
    group = Group(capacity=50.0, consumers=20)
    group.play(600, 2_000.0)
    assert group.advisor.last is not None
    assert (group.advisor.last.consumers, group.advisor.last.held) == (20, "maximum")


def test_no_advice_is_above_the_partitions_or_a_lower_maximum() -> None:
    advisor = Advisor(Memory(50.0, 10, 5.0))
    found = advisor.observe(load(0.0, consumers=1, max_consumers=2), ScalingPolicy(minimum=6))
    assert found is not None
    assert found.consumers == 2
    advisor = Advisor(Memory(None, 10, 5.0))
    held = load(0.0, consumers=10, blocked="paused")
    found = advisor.observe(held, ScalingPolicy(maximum=4))
    assert found is not None
    assert (found.consumers, found.held) == (4, "paused")


def test_a_limit_that_is_being_tried_is_kept_as_it_was() -> None:
    setting = next(each for each in SETTINGS if each.name == "saturated database")
    way = WAYS["mq_desired_consumers"](setting)
    assert isinstance(way, Ours)
    world = World(setting)
    seen = set()
    while world.now < setting.seconds:
        world.step()
        way.act(world)
        memory = way.advisor.memory(world.now)
        assert math.isfinite(memory.limit_for)
        seen.add(memory.limit)
    assert len(seen - {None}) <= 2


def learned(consumers: int) -> Advisor:
    """An advisor that has advised this number and knows that a consumer does 50/s."""
    return Advisor(Memory(50.0, consumers, 1_000.0))


def kept(advisor: Advisor, at: float, consumers: int) -> int:
    facts = load(at, consumers=consumers, produced_rate=300.0, consumed_rate=50.0 * consumers)
    found = advisor.observe(facts, POLICY)
    assert found is not None
    return found.consumers


def test_consumers_that_vanish_and_return_with_their_broker_leave_the_advice_alone() -> None:
    advisor = learned(7)
    present = [7, 7, 0, 0, 0, 1, 2, 4, 5, 7, 7, 7, 7, 7, 7, 7, 7]
    given = [kept(advisor, POLL * poll, count) for poll, count in enumerate(present)]
    assert min(given) == 7
    # The broker does not come back.
    assert {kept(advisor, POLL * (20 + poll), 0) for poll in range(60)} == {7}


def test_a_number_that_somebody_else_sets_is_the_new_beginning_after_a_minute() -> None:
    advisor = learned(7)
    given = [kept(advisor, POLL * poll, 7 if poll < 2 else 4) for poll in range(10)]
    assert given[:8] == [7] * 8
    assert given[-1] == 4


def test_every_hold_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/scaling.md").read_text()
    assert [hold for hold in HOLDS if f"\n| `{hold}` |" not in page] == []
    assert HELD.keys() == set(HOLDS)


LATER = {"hot partition", "poison message", "saturated database"}
"""Loads in which the target is kept longer by a way that always has the most consumers."""


@pytest.mark.parametrize("name", ["hpa", "scaledobject"])
def test_the_manifests_leave_the_size_of_steps_to_the_advice(name: str) -> None:
    file = Path(__file__).parents[2] / f"deploy/kubernetes/{name}.yaml"
    spec = yaml.safe_load(file.read_text())["spec"]
    if name == "scaledobject":
        spec = spec["advanced"]["horizontalPodAutoscalerConfig"]
    policies = {each["type"]: each["value"] for each in spec["behavior"]["scaleUp"]["policies"]}
    assert policies == {"Pods": FREE_STEP, "Percent": 100 * (LARGEST_STEP_OUT - 1)}
    assert policies == {"Pods": OUR_PODS, "Percent": OUR_PERCENT}  # as in the simulation


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.name)
def test_our_advice_against_every_other_way(setting: Setting) -> None:
    tallies = {name: run(setting, make(setting)) for name, make in ways_for(setting).items()}
    ours = tallies.pop("mq_desired_consumers")
    if setting.downstream < 1e9:
        # Each hold ends with one consumer more, to see whether it helps now.
        assert ours.reversals <= 4
        for name in ("HPA, lag / 1000", "KEDA kafka"):
            assert ours.consumer_hours < tallies[name].consumer_hours / 2
    else:
        assert ours.reversals <= 2
        assert ours.reversals <= min(each.reversals for each in tallies.values()) + 1
    assert ours.actions <= setting.seconds / 300
    if setting.name not in LATER:
        assert ours.late_seconds <= min(each.late_seconds for each in tallies.values())
