"""The scaling advice at its edges: zero, long times, subscriptions that return, reloads."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from exporter.analysis.scaling import Validity, scaling_families
from exporter.config import Config, parse
from exporter.model import CollectError
from exporter.scaling.advisor import Advisor, Memory
from exporter.scaling.board import SubscriptionName
from exporter.scaling.calm import SLICES, Calm
from exporter.scaling.capacity import Capacity
from exporter.scaling.load import PartitionLoad
from exporter.scaling.need import need_of
from exporter.scaling.policy import ScalingPolicy, Weights
from exporter.sources import scaling_keeper
from exporter.sources.scaling_inputs import ScalingInputs, number_of
from exporter.sources.scaling_keeper import ScalingKeeper
from exporter.sources.scaling_memory import OLDEST_SECONDS, load_memories, save_memories
from exporter.sources.scaling_policies import questions
from exporter.sources.source import Source
from tests.unit.test_scaling import POLL, load
from tests.unit.test_scaling_source import LINE, SOURCES, World, answer

PLACE = SubscriptionName("s", None, "orders", "billing")


def config(text: str) -> Config:
    return parse(text + SOURCES, "test", {})


def advised(advisor: Advisor, policy: ScalingPolicy, seconds: float, **facts: Any) -> int:
    """Play polls with the same facts, and return the last advice."""
    for step in range(int(seconds / POLL)):
        advisor.observe(load(step * POLL, **facts), policy)
    assert advisor.last is not None
    return advisor.last.consumers


# Numbers


@pytest.mark.parametrize("partitions", [0, 4])
def test_with_a_minimum_of_0_nothing_needs_no_consumer(partitions: int) -> None:
    """The same for a queue and a topic."""
    parts = [PartitionLoad(str(n), 0, 0.0) for n in range(partitions)]
    facts = {"consumers": 1, "max_consumers": partitions or None, "partitions": lambda: parts}
    advisor = Advisor(Memory(50.0, 1, 0.0))
    assert advised(advisor, ScalingPolicy(minimum=0), 1_500, **facts) == 0


@pytest.mark.parametrize("partitions", [0, 4])
def test_one_message_needs_a_consumer_however_long_the_time_to_drain(partitions: int) -> None:
    parts = [PartitionLoad(str(n), int(n == 0), 0.0) for n in range(partitions)]
    facts = {"consumers": 0, "lag": 1, "partitions": lambda: parts}
    policy = ScalingPolicy(minimum=0, drain_time=7 * 86_400.0)
    assert advised(Advisor(Memory(5_000.0, 0, 1_000.0)), policy, 100, **facts) == 1


def test_partitions_whose_rates_are_unknown_share_the_rate() -> None:
    parts = [PartitionLoad(str(n), 0, None) for n in range(8)]
    found = load(consumers=4, produced_rate=190.0, consumed_rate=190.0, max_consumers=8)
    found = found._replace(partitions=lambda: parts)
    assert need_of(found, None, 50.0, ScalingPolicy()).consumers == 4


@pytest.mark.parametrize(
    "facts",
    [
        {"inputs": [(0.2, None)]},
        {"age_target": 5.0, "age": None},
        {"lag_target": 1_000, "weights": Weights(0.0, 0.0, 1.0)},
    ],
)
def test_the_ratio_of_the_rates_alone_keeps_no_consumers(facts: dict[str, Any]) -> None:
    """It is 1 for everybody who keeps up: such as while the Prometheus of the inputs is down."""
    policy = ScalingPolicy(weights=facts.pop("weights", Weights()))
    facts |= {"consumers": 8, "produced_rate": 60.0, "consumed_rate": 60.0}
    assert advised(Advisor(Memory(50.0, 8, 0.0)), policy, 3_000, **facts) == 2


def test_a_step_back_respects_a_maximum_that_was_lowered() -> None:
    advisor = Advisor(Memory(50.0, 8, 1_000.0, 6, 600.0))
    facts = {"consumers": 8, "lag": 100_000, "produced_rate": 400.0, "consumed_rate": 300.0}
    assert advised(advisor, ScalingPolicy(maximum=3), POLL, **facts) == 3


def test_counters_that_go_back_teach_nothing() -> None:
    capacity = Capacity()
    for step in range(60):
        capacity.observe(load(step * POLL, consumed=10**6 - 500 * step, lag=10**6), 0.0)
    assert capacity.value is None


def test_a_long_cooldown_costs_no_more_memory_than_a_short_one() -> None:
    calm, policy = Calm(), ScalingPolicy(minimum=0, cooldown_in=86_400.0)
    for step in range(20_000):
        calm.advise(12 if step == 12_000 else 3, 20, policy, step * POLL)
    assert len(calm._needs) <= SLICES + 2
    assert calm.advice == 12, "the highest need of the last day"


# Inputs


def test_a_number_of_400_digits_is_no_number() -> None:
    with pytest.raises(CollectError, match="not a number"):
        number_of(answer("scalar", [0, 10**400]))


INPUTS = """
scaling:
  - inputs:
      - {prometheus: "http://127.0.0.1:1", query: a, target: 1, weight: 0.1}
      - {prometheus: "http://127.0.0.1:1", query: b, target: 1, weight: 0.1}
"""


def test_many_slow_queries_are_no_stuck_loop() -> None:
    beats: list[None] = []
    inputs = ScalingInputs(questions(config(INPUTS)))
    inputs.run_due(lambda: beats.append(None))
    assert len(beats) == 2
    assert inputs.failures.total() == 2


def test_a_reload_keeps_the_results_and_ends_the_old_queries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ScalingInputs, "_ask", lambda *_: 0.5)
    asked = questions(config(INPUTS))
    before, after = ScalingInputs(asked), ScalingInputs(asked)
    before.run_due()
    after.follow(before)
    assert [after.read(each) for each in asked] == [0.5, 0.5]
    before.close()
    before.run_due(lambda: pytest.fail("it asks nobody any more"))
    assert after.read("something else") is None


# What was learned


class FakeSource:
    """What a source remembers."""

    def __init__(self) -> None:
        self.known: dict[SubscriptionName, Memory] = {}

    def memories(self, _: float) -> dict[SubscriptionName, Memory]:
        return self.known


class Keeping:
    """A keeper with a clock, and one source."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: str = LINE) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: 1e9 + self.now)
        self.source = FakeSource()
        self.keeper = ScalingKeeper(config(text), self.sources)

    def sources(self) -> list[Source]:
        return cast("list[Source]", [self.source])

    def known(self) -> Iterable[SubscriptionName]:
        return self.keeper._memories.keys()


def with_state(path: Path) -> str:
    return LINE + f"scaling_state: {path}\n"


def test_a_subscription_that_returns_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = Keeping(monkeypatch)
    scaling = keeping.keeper.scaling_of(config(LINE).sources[0])
    keeping.source.known = {PLACE: Memory(50.0, 4, 10.0)}
    keeping.keeper._save()
    keeping.source.known = {}
    keeping.now += 600.0
    keeping.keeper._save()
    assert scaling._memories.get(PLACE) == Memory(50.0, 4, 610.0, gone_for=600.0)


def test_a_subscription_that_is_gone_for_a_week_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even if the file is written each minute, and the exporter is restarted."""
    file = tmp_path / "state.json"
    keeping = Keeping(monkeypatch)
    save_memories(file, {PLACE: Memory(50.0, 4, 10.0)}, time.time())
    for _ in range(3):
        keeping.keeper = ScalingKeeper(config(with_state(file)), keeping.sources)
        assert list(keeping.known()) == [PLACE]
        for _ in range(2):
            keeping.now += OLDEST_SECONDS / 7
            keeping.keeper._save()
    keeping.now += OLDEST_SECONDS / 3
    keeping.keeper._save()
    assert list(keeping.known()) == []
    assert load_memories(file, time.time()) == {}


def test_scaling_that_a_reload_adds_uses_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    keeping = Keeping(monkeypatch, "")
    save_memories(file, {PLACE: Memory(50.0, 4, 10.0)}, time.time())
    assert list(keeping.known()) == []
    keeping.keeper.configure(config(with_state(file)))
    assert list(keeping.known()) == [PLACE]


def test_a_command_that_does_not_collect_writes_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`once` beside a daemon must not replace what the daemon has learned."""
    file = tmp_path / "state.json"
    keeping = Keeping(monkeypatch, with_state(file))
    keeping.source.known = {PLACE: Memory(50.0, 4, 10.0)}
    keeping.keeper.stop()
    assert not file.exists()
    monkeypatch.setattr(scaling_keeper, "TICK", 0.01)
    keeping.keeper = ScalingKeeper(config(with_state(file)), keeping.sources)
    keeping.keeper.start()
    keeping.keeper.stop()
    assert load_memories(file, time.time()).keys() == {PLACE}


def test_consumers_do_not_stop_because_the_lag_is_unknown(world: World) -> None:
    """With an advice of 0, a subscription with unknown lag stays as active as it was."""
    for _ in range(5):
        world.poll(rate=100.0, capacity=30.0, members=0)
    assert world.board.find("s").active
    (sub,) = world.source.state.judged
    assert sub.scaled is not None
    assert sub.scaled.waiting
    now = world.now
    ((_, evidence),) = world.source.state.evidence(now, now, 120.0)
    world.source._scaling.observe(sub, evidence._replace(lag=None))
    assert sub.scaled.waiting


def test_advice_is_shown_as_long_as_it_is_valid(world: World) -> None:
    """With polls each 20 minutes."""
    for _ in range(3):
        world.poll(rate=100.0, capacity=30.0, members=2)
    scaled = [sub.scaled for sub in world.source.state.judged if sub.scaled is not None]
    for seconds, series in ((3_000.0, 1), (4_000.0, 0)):
        found = scaling_families(scaled, Validity(3_610.0), world.now + seconds)
        assert len(found[0].values) == series


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)
