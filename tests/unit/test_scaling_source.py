"""The scaling advice of a running source: config, metrics, JSON, board, and the state file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from exporter.analysis.rows import Wanted
from exporter.analysis.scaling import BLIND_SECONDS, Scaling
from exporter.config import ConfigError, parse
from exporter.config.kafka import KafkaSource
from exporter.judgement.thresholds import ThresholdTable
from exporter.model import CollectError, GroupMembers, Memberships
from exporter.scaling.advisor import Memory
from exporter.scaling.board import AdviceBoard, BlindError, NoAdviceError, SubscriptionName
from exporter.show.exposition import Exposition
from exporter.sources.scaling_inputs import number_of
from exporter.sources.scaling_memory import load_memories, save_memories
from exporter.sources.scaling_policies import policy_table, questions
from exporter.sources.source import Source
from tests.support.observations import log, log_backlog
from tests.unit.test_source import KAFKA, Fake

SOURCES = """
sources:
  - {name: s, system: kafka, bootstrap_servers: "k:9092"}
"""
LINE = """
scaling:
  - match: {source: s, group: "billing.*"}
    maximum: 12
"""
POLL = 10.0


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parse(text + SOURCES, "test", {})
    return str(raised.value)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("{minimum: 5, maximum: 3}", "minimum 5 is above maximum 3"),
        ("{weights: {lag: 0.9}}", "must add up to 1, not 1.5"),
        ("{weights: {lag: -1}}", "from 0 to 1"),
        ("{out_above: 0.5, in_below: 0.6}", "in_below must be smaller"),
        ("{drain_time: 0s}", "at least 1ms"),
        ("{drain_time: 5}", "needs a unit"),
        ("{maximum: 0}", "1 or more"),
        ("{max: 3}", "max"),
        ("{match: {group: 'billing-*('}}", "regular expression"),
        ("{inputs: [{prometheus: 'ftp://p', query: up, target: 1, weight: 0.1}]}", "http://"),
        ("{inputs: [{prometheus: 'http://p', query: '', target: 1, weight: 0.1}]}", "PromQL"),
        ("{inputs: [{prometheus: 'http://p', query: up, target: 0, weight: 0.1}]}", "greater than"),
        ("{inputs: [{prometheus: 'http://p', query: up, target: 1}]}", "weight"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(line: str, advice: str) -> None:
    assert advice in refused(f"scaling: [{line}]\n")


def test_a_line_after_one_that_matches_everything_is_refused() -> None:
    assert "would never apply" in refused("scaling: [{maximum: 3}, {match: {group: a}}]\n")


def test_policies_come_from_the_first_line_that_matches() -> None:
    text = LINE + "  - {match: {group: '.*'}, minimum: 0, drain_time: 1m}\n" + SOURCES
    table = policy_table(parse(text, "test", {}))
    found = table.of_subscription("kafka", "s", None, "orders", "billing-1")
    assert found is not None
    assert (found.minimum, found.maximum, found.drain_time) == (1, 12, 300.0)
    found = table.of_subscription("kafka", "s", None, "orders", "mailer")
    assert found is not None
    assert (found.minimum, found.maximum, found.drain_time) == (0, 100, 60.0)
    assert not policy_table(parse(SOURCES, "test", {}))


class World:
    """A group with a backlog, followed by a source whose clock the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, config: str = LINE) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: 1e9 + self.now)
        parsed = parse(config + SOURCES, "test", {})
        self.fake = Fake()
        self.fake.follows = {}
        wanted = ("backlog", "consumers")
        self.fake.tasks = {name: self.fake.tasks[name] for name in wanted}
        self.exposition = Exposition(lambda _: b"")
        self.board = AdviceBoard(lambda: self.now)
        self.source = Source(
            KafkaSource.model_validate(KAFKA),
            self.fake,
            self.exposition,
            started=0.0,
            scaling=Scaling("kafka", "s", policy_table(parsed)),
            board=self.board,
        )
        self.produced, self.consumed = 10_000, 0

    def poll(self, *, rate: float, capacity: float, members: int, group: str = "billing") -> None:
        """One poll, ten seconds after the last one; four partitions."""
        self.now += POLL
        self.produced += int(rate * POLL)
        self.consumed = min(self.consumed + int(capacity * members * POLL), self.produced)
        names = frozenset(f"m{number}" for number in range(members))
        self.fake.answers["backlog"] = log_backlog(
            {"orders": log(*[(0, self.produced)] * 4)},
            {group: {"orders": dict.fromkeys(range(4), self.consumed)}},
        )
        self.fake.answers["consumers"] = Memberships(
            {
                group: GroupMembers(
                    "stable", names, {"orders": members}, {"orders": frozenset(range(4))}, 1
                )
            }
        )
        self.source.run_once()

    def fail(self, seconds: float) -> None:
        self.now += seconds
        self.fake.answers.clear()
        self.source.run_once()
        self.source.expire()

    @property
    def page(self) -> str:
        return b"".join(self.exposition.response("", "").content()).decode()

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.source.rows(Wanted(stale=True))
        return row

    def value(self, name: str) -> float | None:
        found = [line for line in self.page.splitlines() if line.startswith(f"{name}{{")]
        return float(found[0].rpartition(" ")[2]) if found else None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_advice_is_a_metric_a_row_and_on_the_board(world: World) -> None:
    for _ in range(40):
        world.poll(rate=100.0, capacity=30.0, members=2)
    row = world.row["scaling"]
    json.dumps(world.row)
    assert row["desired_consumers"] == 4
    assert row["capacity_messages_per_second"] == pytest.approx(120.0)  # four partitions each
    assert row["held"] is None
    assert (row["valid"], row["consumers"], row["maximum"]) == (True, 2, 12)
    assert "come in" in row["reason"]
    assert world.value("mq_desired_consumers") == 4
    assert world.value("mq_consumer_capacity_messages_per_second") == pytest.approx(120.0)
    assert world.value("mq_scaling_score") == pytest.approx(row["score"])
    assert "mq_scaling_held{" not in world.page
    found = world.board.find("s", "orders", "billing")
    assert (found.consumers, found.active) == (4, True)


def test_nothing_is_advised_where_no_line_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.poll(rate=100.0, capacity=30.0, members=2, group="mailer")
    assert world.row["scaling"] is None
    assert "mq_desired_consumers" not in world.page
    with pytest.raises(NoAdviceError, match="no subscription matches a line"):
        world.board.find("s", "orders", "mailer")


def test_a_source_that_is_down_keeps_its_advice_for_a_while_and_says_blind(world: World) -> None:
    for _ in range(40):
        world.poll(rate=100.0, capacity=30.0, members=2)
    before = world.value("mq_desired_consumers")
    world.fail(30.0)
    assert world.value("mq_desired_consumers") == before
    assert "mq_scaling_held{" not in world.page
    assert world.board.find("s").consumers == before
    world.fail(30.0)
    assert world.value("mq_desired_consumers") == before, "never zero, never gone at once"
    assert 'reason="blind"' in world.page
    assert world.row["scaling"]["valid"] is False
    assert "cannot be read" in world.row["scaling"]["reason"]
    with pytest.raises(BlindError, match=f"the last advice was {before:.0f}"):
        world.board.find("s")
    world.fail(BLIND_SECONDS)
    assert "mq_desired_consumers{" not in world.page
    with pytest.raises(BlindError):
        world.board.find("s")
    for _ in range(3):
        world.poll(rate=100.0, capacity=30.0, members=2)
    assert world.value("mq_desired_consumers") == before
    assert "mq_scaling_held{" not in world.page
    assert world.board.find("s").consumers == before


def test_a_hanging_task_does_not_keep_advice_valid(world: World) -> None:
    """Nobody polls, and nothing fails: the watchdog marks the advice."""
    for _ in range(40):
        world.poll(rate=100.0, capacity=30.0, members=2)
    world.now += 45.0
    world.source.expire()
    assert 'reason="blind"' in world.page


def test_a_reload_takes_other_limits_and_forgets_nothing(world: World) -> None:
    for _ in range(40):
        world.poll(rate=100.0, capacity=30.0, members=2)
    less = parse(LINE.replace("12", "3") + SOURCES, "test", {})
    assert world.source.set_tables(ThresholdTable(), policy_table(less))
    world.poll(rate=100.0, capacity=30.0, members=2)
    assert world.value("mq_desired_consumers") == 3
    none = parse(SOURCES, "test", {})
    assert world.source.set_tables(ThresholdTable(), policy_table(none))
    world.poll(rate=100.0, capacity=30.0, members=2)
    assert "mq_desired_consumers{" not in world.page
    assert world.row["scaling"] is None
    with pytest.raises(NoAdviceError):
        world.board.find("s")


# The state file

PLACE = SubscriptionName("s", None, 'odd "name"\n', "gruppe ü")
MEMORY = Memory(12.5, 4, 30.0, 6, 600.0)


def test_what_was_learned_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    assert load_memories(file, 0.0) == {}
    save_memories(
        file, {PLACE: MEMORY, SubscriptionName("s", "\ud800", "q", None): MEMORY}, 1_000.0
    )
    assert load_memories(file, 1_100.0) == {PLACE: Memory(12.5, 4, 130.0, 6, 500.0, 100.0)}
    assert load_memories(file, 1_700.0)[PLACE].limit is None, "the limit has ended meanwhile"
    assert load_memories(file, 900.0) == {PLACE: MEMORY}, "the clock was set back"
    assert load_memories(file, 1e9) == {}, "too old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version":2}', '{"version":1,"saved":1e999,"subscriptions":[]}']
)
def test_a_file_that_is_damaged_is_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        load_memories(file, 0.0)
    with pytest.raises(ValueError, match="directory"):
        load_memories(tmp_path, 0.0)


def test_an_advisor_that_remembers_advises_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    memories = {SubscriptionName("s", None, "orders", "billing"): Memory(50.0, 2, 1_000.0)}
    parsed = parse(LINE + SOURCES, "test", {})
    world.source = Source(
        KafkaSource.model_validate(KAFKA),
        world.fake,
        world.exposition,
        started=0.0,
        scaling=Scaling("kafka", "s", policy_table(parsed), memories=memories),
        board=world.board,
    )
    for _ in range(3):
        world.poll(rate=100.0, capacity=20.0, members=2)
    assert world.row["scaling"]["desired_consumers"] == 4
    assert (
        world.source.memories(world.now)[SubscriptionName("s", None, "orders", "billing")].advice
        == 4
    )


# Inputs


def answer(kind: str, result: object) -> Mapping[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def test_the_number_of_a_query() -> None:
    assert number_of(answer("scalar", [1.0, "0.75"])) == 0.75
    assert number_of(answer("vector", [{"metric": {}, "value": [1.0, "3"]}])) == 3.0


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        {"status": "error"},
        answer("vector", []),
        answer("vector", [{"value": [1, "1"]}, {"value": [1, "2"]}]),
        answer("matrix", []),
        answer("scalar", [1.0, "NaN"]),
        answer("scalar", [1.0, "+Inf"]),
        answer("scalar", [1.0, "-1"]),
        answer("scalar", []),
        answer("vector", [5]),
        answer("scalar", [1.0, {}]),
    ],
)
def test_what_is_not_one_number_is_no_part_of_the_score(given: object) -> None:
    with pytest.raises(CollectError):
        number_of(given)


def test_the_questions_of_the_config() -> None:
    line = "{inputs: [{prometheus: 'http://p:9090/', query: ' up ', target: 0.8, weight: 0.2}]}"
    parsed = parse(f"scaling: [{line}]\n" + SOURCES, "test", {})
    (question,) = questions(parsed)
    assert question == (("http://p:9090",), "up", 15.0, None)
