"""Totals of probes, by node."""

from __future__ import annotations

import pytest

from exporter.analysis.probe_results import NODE_KEPT, ProbeState
from exporter.model import PROBE_RESULTS, STAGES, NodeProbe, Probes, Roster
from exporter.show.exposition import labeler

LABEL = labeler({"system": "kafka", "source": "s"})


def probe(
    publish: float | None = None,
    receive: float | None = None,
    ack: float | None = None,
    *,
    node: str = "k1",
    sent: bool = True,
) -> NodeProbe:
    return NodeProbe(node, sent, publish, receive, ack)


def taken(*rounds: list[NodeProbe]) -> ProbeState:
    """Return the state after these runs, one a second."""
    state = ProbeState(LABEL)
    for now, probes in enumerate(rounds):
        state.observe(Probes(probes), float(now))
    return state


def shown(state: ProbeState, name: str, suffix: str = "", **labels: str) -> int | float | None:
    """Return the value of a series; None if there is no such series."""
    for family in state.families():
        if family.name == name:
            values = dict(zip(family.labels, family.values, strict=True))
            return values.get(suffix + LABEL(labels))
    raise AssertionError(name)


WHOLE = probe(0.002, 0.02, 0.3)
UNACKED = probe(0.002, 0.02)
LOST = probe(0.002)
FAILED = probe()
UNSENT = probe(sent=False)


@pytest.mark.parametrize(
    ("case", "found", "counted", "success"),
    [
        ("whole", WHOLE, {"sent": 1, "received": 1}, 1),
        ("received, and never acknowledged", UNACKED, {"sent": 1, "received": 1}, 1),
        ("published, and never received", LOST, {"sent": 1, "lost": 1}, 0),
        ("sent, and refused", FAILED, {"sent": 1, "failed": 1}, 0),
        ("no way to send it", UNSENT, {"failed": 1}, 0),
        (
            "received, its acknowledgement gone astray",
            probe(None, 0.02),
            {"sent": 1, "received": 1},
            1,
        ),
    ],
)
def test_what_became_of_a_probe_is_counted_once(
    case: str, found: NodeProbe, counted: dict[str, int], success: int
) -> None:
    state = taken([found])
    results = {
        result: shown(state, "mq_probe_messages_total", node="k1", result=result)
        for result in PROBE_RESULTS
    }
    expected: dict[str, int] = {result: counted.get(result, 0) for result in PROBE_RESULTS}
    assert (case, results) == (case, expected)
    assert shown(state, "mq_probe_success", node="k1") == success


def test_each_stage_that_came_is_timed_from_the_sending() -> None:
    state = taken([WHOLE], [UNACKED], [LOST], [FAILED])
    name = "mq_probe_latency_seconds"
    counts = {stage: shown(state, name, "_count", node="k1", stage=stage) for stage in STAGES}
    assert counts == {"publish": 3, "receive": 2, "ack": 1}
    assert shown(state, name, "_sum", node="k1", stage="receive") == pytest.approx(0.04)
    assert shown(state, name, "_bucket", node="k1", stage="publish", le="0.001") == 0
    assert shown(state, name, "_bucket", node="k1", stage="publish", le="0.0025") == 3


def test_success_is_that_of_the_last_probe() -> None:
    rounds = [[WHOLE], [LOST], [WHOLE]]
    found = [shown(taken(*rounds[:count]), "mq_probe_success", node="k1") for count in (1, 2, 3)]
    assert found == [1, 0, 1]


def test_nodes_are_counted_each_by_itself() -> None:
    state = taken([WHOLE, probe(node="k2")])
    assert shown(state, "mq_probe_success", node="k1") == 1
    assert shown(state, "mq_probe_success", node="k2") == 0
    assert shown(state, "mq_probe_messages_total", node="k2", result="received") == 0


def test_without_a_probe_nothing_is_shown() -> None:
    assert [len(family.labels) for family in taken([]).families()] == [0, 0, 0]


def test_a_node_that_is_not_probed_any_more_goes_after_a_day() -> None:
    state = taken([WHOLE, probe(0.1, 0.2, node="k2")])
    state.observe(Probes([WHOLE]), NODE_KEPT)
    assert shown(state, "mq_probe_messages_total", node="k2", result="sent") == 1
    state.observe(Probes([WHOLE]), NODE_KEPT + 1.0)
    assert shown(state, "mq_probe_messages_total", node="k2", result="sent") is None
    assert shown(state, "mq_probe_messages_total", node="k1", result="sent") == 3


def test_a_node_that_two_answers_lack_takes_its_series_with_it() -> None:
    """The last success of a broker that has another address now, or was removed."""
    state = taken([WHOLE, probe(0.1, 0.2, node="k2")])
    state.observe(
        Probes([WHOLE, UNSENT], (), Roster(1.0, {"k1": "1", "k2": "2"}, frozenset())), 1.0
    )
    for at, success in ((2.0, 0), (3.0, None)):
        state.observe(Probes([WHOLE], (), Roster(at, {"k1": "1"}, frozenset())), at)
        assert shown(state, "mq_probe_success", node="k2") == success
    assert shown(state, "mq_probe_messages_total", node="k2", result="sent") is None
    assert shown(state, "mq_probe_success", node="k1") == 1


def test_a_node_that_never_gave_a_message_back_is_gone_once_it_is_not_listed() -> None:
    state = taken([WHOLE, UNSENT])
    for at in (1.0, 2.0):
        state.observe(Probes([WHOLE], (), Roster(at, {"k1": "1"}, None)), at)
    assert shown(state, "mq_probe_messages_total", node="k2", result="sent") is None
    assert shown(state, "mq_probe_success", node="k1") == 1


def test_a_node_that_is_down_and_not_probed_any_more_does_not_succeed() -> None:
    state = taken([WHOLE, probe(0.1, 0.2, node="k2")])
    for at in (1.0, 2.0, 3.0):
        state.observe(Probes([WHOLE], (), Roster(at, {"k1": "1"}, frozenset({""}))), at)
    assert shown(state, "mq_probe_success", node="k2") == 0
