"""Which groups need not be described again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import pytest

from exporter.collectors.kafka.collector import KafkaCollector
from exporter.collectors.kafka.commit_stream.described import AGAIN_SECONDS, DescribedGroups
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import GroupMembers, GroupState, Memberships, Until

NAMES = [f"group-{number}" for number in range(200)]


def described(at: float = 0.0) -> DescribedGroups:
    """All of them are followed, and were described."""
    groups = DescribedGroups()
    groups.follow(NAMES)
    groups.begin(NAMES, at)
    return groups


def test_groups_without_news_are_described_again_some_after_the_other() -> None:
    groups, (least, most) = described(), AGAIN_SECONDS
    assert groups.due(NAMES, least - 1.0) == []
    assert 50 < len(groups.due(NAMES, (least + most) / 2)) < 150
    assert groups.due(NAMES, most) == NAMES


def test_a_group_with_news_is_described_again() -> None:
    groups = described()
    groups.forget(["group-7", "other"])
    assert groups.due(NAMES, 1.0) == ["group-7"]


def test_news_during_the_description_are_not_lost() -> None:
    groups = described()
    groups.forget(["group-7"])
    groups.begin(["group-7"], 1.0)
    groups.forget(["group-7"])
    assert groups.due(NAMES, 2.0) == ["group-7"]


def test_a_group_whose_records_were_not_all_read_is_described_again() -> None:
    groups = described()
    groups.follow(NAMES[1:])
    groups.follow(NAMES)
    assert groups.due(NAMES, 1.0) == [NAMES[0]]


def test_groups_that_are_not_followed_are_always_described() -> None:
    groups = described()
    groups.begin(["other"], 0.0)
    assert groups.due(["other", *NAMES], 1.0) == ["other"]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Described]:
    made = Described()
    monkeypatch.setattr("exporter.collectors.kafka.collector.describe_groups", made.describe)
    with closing(made.collector):
        yield made


class Described:
    """A collector without a broker, and the groups that it describes in each run."""

    def __init__(self) -> None:
        self.collector = KafkaCollector(KafkaSettings("s", {"bootstrap.servers": "127.0.0.1:1"}))
        self._asked: list[str] = []
        self.list(one="stable", two="stable", idle="empty")
        self.collector._backlog.commits.described.follow(["one", "two", "idle"])

    def list(self, **states: GroupState) -> None:
        self.collector._group_lister.known = states

    def describe(self, client: object, names: Iterable[str], *_: object) -> Memberships:
        self._asked = sorted(names)
        members = frozenset({"m"})
        known = self.collector._group_lister.known
        return Memberships({n: GroupMembers(known[n], members, {}, {}, 1) for n in self._asked})

    def run(self, *early: str, whole: bool = True) -> Sequence[str]:
        """Run the task; `early` are the groups that made it run ahead of schedule."""
        self.collector._only = frozenset(early)
        self.collector._described_at = -math.inf if whole else time.monotonic()
        self.collector.consumers(Until(10))
        return self._asked


def test_a_run_on_schedule_describes_what_may_have_changed(collector: Described) -> None:
    assert collector.run() == ["one", "two"]
    assert collector.run() == []
    collector.collector._backlog.commits.described.forget(["two"])
    assert collector.run() == ["two"]


def test_a_group_that_rebalances_is_described_until_it_is_settled(collector: Described) -> None:
    """A rebalance writes no record before it ends."""
    collector.run()
    collector.list(one="preparing_rebalance", two="stable")
    assert collector.run() == ["one"]
    assert collector.run() == ["one"]
    collector.list(one="stable", two="stable")
    assert collector.run() == ["one"], "what was described last was not settled"
    assert collector.run() == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_run_ahead_of_schedule_describes_the_groups_that_it_is_for(
    collector: Described, *, whole: bool
) -> None:
    """Also if it comes so late that it is one on schedule."""
    collector.run()
    assert collector.run("two", whole=whole) == ["two"]


def test_states_that_no_list_says_are_asked_for(collector: Described) -> None:
    """As for groups that are named in the config, and by old brokers."""
    collector.list(one="unknown", two="stable")
    collector.run()
    assert collector.run() == ["one"]
