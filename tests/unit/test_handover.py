"""Positions and times that have not changed are not handed over again."""

from __future__ import annotations

import pickle

from exporter.collectors.process.handover import Giver, Taker
from exporter.model import GroupState, LogBacklog, LogTimes, Positions, Stamps


def backlog(**offsets: int) -> LogBacklog:
    positions = {name: Positions(name, {"t": {0: at, 1: None}}) for name, at in offsets.items()}
    return LogBacklog({}, positions, {}, logs_complete=True, groups_complete=True)


def test_every_backlog_arrives_whole() -> None:
    giver, taker = Giver(), Taker()
    polls = [
        (backlog(a=1, b=2), {"a", "b"}),
        (backlog(a=1, b=2), set()),
        (backlog(a=1, b=3, c=4), {"b", "c"}),
        (backlog(c=4), set()),
        (backlog(a=1, c=4), {"a"}),
        (backlog(), set()),
        (backlog(c=4), {"c"}),
    ]
    before: dict[str, Positions] = {}
    for sent, changed in polls:
        message = pickle.loads(pickle.dumps(giver.shrunk(sent)))  # noqa: S301 - our own
        giver.given(sent)
        assert message.positions.changed.keys() == changed
        found = taker.whole(message)
        assert found == sent
        for name, positions in found.positions.items():
            assert (name in changed) == (positions is not before.get(name))
        before = dict(found.positions)


def test_what_was_not_handed_over_is_sent_again() -> None:
    giver, taker = Giver(), Taker()
    giver.shrunk(backlog(a=1))
    message = giver.shrunk(backlog(a=1))
    assert taker.whole(message) == backlog(a=1)


def test_states_that_change_come_and_go() -> None:
    giver, taker = Giver(), Taker()
    polls: list[tuple[dict[str, GroupState], dict[str, GroupState], list[str]]] = [
        ({"a": "stable", "b": "empty"}, {"a": "stable", "b": "empty"}, []),
        ({"a": "stable", "b": "empty"}, {}, []),
        ({"a": "empty", "b": "empty"}, {"a": "empty"}, []),
        ({"b": "empty", "c": "stable"}, {"c": "stable"}, ["a"]),
        ({"b": "empty", "c": "stable"}, {}, []),
    ]
    before: object = None
    for states, changed, gone in polls:
        sent = LogBacklog({}, {}, states, logs_complete=True, groups_complete=True)
        message = pickle.loads(pickle.dumps(giver.shrunk(sent)))  # noqa: S301 - our own
        giver.given(sent)
        assert message.states == (changed, gone)
        assert message.backlog.states == {}
        found = taker.whole(message)
        assert found == sent
        assert (found.states is before) == (not changed and not gone)
        before = found.states


def times(at: float, **stamps: Stamps) -> LogTimes:
    return LogTimes(at, {(group, "t"): each for group, each in stamps.items()}, {})


def test_all_times_arrive() -> None:
    giver, taker = Giver(), Taker()
    a, b, c, again = (Stamps([0], [float(n)], [0.0], "record") for n in (1, 2, 3, 1))
    polls = [
        (times(1.0, a=a, b=b), {"a", "b"}),
        (times(2.0, a=a, b=b), set()),
        (times(3.0, a=a, c=c), {"c"}),
        (times(4.0), set()),
        (times(5.0, c=c), {"c"}),
        (times(6.0, a=again, c=c), {"a"}),
    ]
    before: dict[tuple[str, str], Stamps] = {}
    for sent, changed in polls:
        message = pickle.loads(pickle.dumps(giver.shrunk(sent)))  # noqa: S301 - our own
        giver.given(sent)
        assert {group for group, _ in message.stamps.changed} == changed
        found = taker.whole(message)
        assert found == sent
        for key, stamps in found.stamps.items():
            assert (key[0] in changed) == (stamps is not before.get(key))
        before = dict(found.stamps)


def test_other_values_stay_as_they_are() -> None:
    giver, taker = Giver(), Taker()
    for value in (None, ["finding"], 3):
        assert giver.shrunk(value) is value
        giver.given(value)
        assert taker.whole(value) is value
