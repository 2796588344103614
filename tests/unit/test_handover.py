"""Positions that have not changed are not handed over again."""

from __future__ import annotations

import pickle

from exporter.collectors.process.handover import PositionsGiver, PositionsTaker
from exporter.model import LogBacklog, Positions


def backlog(**offsets: int) -> LogBacklog:
    positions = {name: Positions(name, {"t": {0: at, 1: None}}) for name, at in offsets.items()}
    return LogBacklog({}, positions, {}, logs_complete=True, groups_complete=True)


def test_every_backlog_arrives_whole() -> None:
    giver, taker = PositionsGiver(), PositionsTaker()
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
        assert {name for name, each in message.positions.items() if each is not None} == changed
        found = taker.whole(message)
        assert found == sent
        assert list(found.positions) == list(sent.positions)
        for name, positions in found.positions.items():
            assert (name in changed) == (positions is not before.get(name))
        before = dict(found.positions)


def test_what_was_not_handed_over_is_sent_again() -> None:
    giver, taker = PositionsGiver(), PositionsTaker()
    giver.shrunk(backlog(a=1))
    message = giver.shrunk(backlog(a=1))
    assert taker.whole(message) == backlog(a=1)
