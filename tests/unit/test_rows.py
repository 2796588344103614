"""An invalid row of a response does not affect other rows."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.collectors.nsq.selection import TopicSelection
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.nsq.stats import Finished, NodeStats, read_stats
from exporter.collectors.rabbitmq.queues import QueueSelection, counts_of, listed
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.reply_rows import RowError, Rows, host, number

GOOD: dict[str, Any] = {
    "name": "good",
    "vhost": "/",
    "type": "classic",
    "messages": 3,
    "messages_unacknowledged": 1,
}
CHANNEL: dict[str, Any] = {
    "channel_name": "c",
    "depth": 4,
    "in_flight_count": 1,
    "deferred_count": 0,
    "message_count": 10,
    "requeue_count": 0,
    "timeout_count": 0,
    "client_count": 1,
}
TOPIC: dict[str, Any] = {
    "topic_name": "t",
    "message_count": 10,
    "depth": 0,
    "channels": [CHANNEL],
}


@pytest.mark.parametrize("value", ["abc", [], {}, True, float("nan"), float("inf"), "7"])
def test_a_queue_whose_depth_is_no_number_is_held_and_named(value: Any) -> None:
    rows = Rows()
    bad = {**GOOD, "name": "bad", "messages": value}
    found = listed([bad, GOOD], QueueSelection(RabbitSettings("s", ("http://r",))), rows)
    assert {queue.name[1]: queue.depth.lag for queue in found} == {"bad": None, "good": 3}
    assert (rows.unreadable, rows.nameless) == (1, 0)
    (problem,) = rows.problems()
    assert problem.subject == "queue 'bad' in vhost '/'"
    assert "messages" in problem.message


@pytest.mark.parametrize("bad", [{}, {"vhost": "/"}, {"vhost": "/", "name": 5}, {"name": "x"}])
def test_a_row_without_a_name_leaves_the_list_incomplete(bad: dict[str, Any]) -> None:
    rows = Rows()
    found = listed([bad, GOOD], QueueSelection(RabbitSettings("s", ("http://r",))), rows)
    assert [queue.name[1] for queue in found] == ["good"]
    assert (rows.unreadable, rows.nameless) == (1, 1)


def test_counts_name_the_field() -> None:
    with pytest.raises(RowError, match=r"the field ack is 'x', not a whole number"):
        counts_of({**GOOD, "message_stats": {"ack": "x"}}, 0.0)


def test_many_rows_are_told_as_one_problem() -> None:
    rows = Rows()
    for index in range(3):
        rows.refuse(f"queue {index}", RowError("messages", "x" * 500, "a number"))
    (problem,) = rows.problems()
    assert problem.subject == "queue 0"
    assert "3 rows" in problem.message
    assert len(problem.message) < 200


def stats(*topics: Any) -> NodeStats:
    selection = TopicSelection(NsqSettings("s"))
    return read_stats({"topics": list(topics)}, "n:1", selection, frozenset(), Finished())


def lags(reading: NodeStats) -> dict[tuple[str, str | None], int | None]:
    return {(d.place.destination, d.place.group): d.lag for d in reading.depths}


def test_a_channel_that_cannot_be_read_is_held() -> None:
    bad = {**CHANNEL, "channel_name": "bad", "depth": "x"}
    found = stats({**TOPIC, "channels": [bad, CHANNEL]})
    assert lags(found) == {("t", "bad"): None, ("t", "c"): 5}
    assert [counts.place.group for counts in found.counts] == ["c"]
    assert (found.rows.unreadable, found.rows.nameless) == (1, 0)


def test_a_topic_whose_own_numbers_cannot_be_read_keeps_its_channels() -> None:
    found = stats({**TOPIC, "message_count": None}, {**TOPIC, "topic_name": "u"})
    assert lags(found) == {("t", "c"): 5, ("u", "c"): 5}
    assert [produced.destination for produced in found.produced] == ["u"]
    assert found.rows.unreadable == 1


def test_a_paused_topic_whose_depth_is_unknown_has_channels_of_unknown_lag() -> None:
    found = stats({**TOPIC, "paused": True, "depth": "x"})
    assert lags(found) == {("t", "c"): None}


@pytest.mark.parametrize("bad", [None, 5, {}, {"topic_name": 5}, {**TOPIC, "channels": 5}])
def test_a_topic_of_which_nothing_can_be_told_leaves_the_node_incomplete(bad: Any) -> None:
    found = stats(bad, TOPIC)
    assert lags(found) == {("t", "c"): 5}
    assert (found.rows.unreadable, found.rows.nameless) == (1, 1)


def test_a_bad_client_of_an_ephemeral_channel_is_the_channels_fault_alone() -> None:
    odd = {**CHANNEL, "channel_name": "e#ephemeral", "clients": [{"remote_address": 5}]}
    selection = TopicSelection(NsqSettings("s", internals=True))
    answer = {"topics": [{**TOPIC, "channels": [odd, CHANNEL]}]}
    found = read_stats(answer, "n:1", selection, frozenset(), Finished())
    assert lags(found) == {("t", "e#ephemeral"): None, ("t", "c"): 5}


@pytest.mark.parametrize(
    "value", [pytest.param(10**5_000, id="huge"), 10**400, -5, "7", True, 1.5, 2**63, float("inf")]
)
def test_what_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(RowError) as caught:
        number({"messages": value}, "messages")
    assert str(caught.value).startswith("the field messages is ")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "legal"),
    [
        ("nsqd-1", True),
        ("nsqd_1.example.org", True),
        ("10.0.0.1", True),
        ("::1", True),
        ("evil/?x=", False),
        ("a b", False),
        ("user@host", False),
        ("", False),
        ("a" * 300, False),
    ],
)
def test_only_host_names_and_addresses_are_hosts(value: str, legal: bool) -> None:
    row = {"broadcast_address": value}
    if legal:
        assert host(row, "broadcast_address") == value
    else:
        with pytest.raises(RowError):
            host(row, "broadcast_address")
