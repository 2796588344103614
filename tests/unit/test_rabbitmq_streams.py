"""Positions of stream consumers, from the replies of the management API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from exporter.collectors.http import StatusError
from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.stream_reader import StreamReader
from exporter.collectors.rabbitmq.streams import StreamLabels, Streams
from exporter.collectors.rabbitmq.super_streams import SuperStreams
from exporter.collectors.reply_rows import Rows
from exporter.model import CollectError, Problem, Until

NAME = ("/", "s")
LOOK_SECONDS = 10.0


class Cluster:
    """The replies of a management API, and a reader that polls them every 10 s."""

    def __init__(self, *names: tuple[str, str]) -> None:
        self.parts: dict[tuple[str, str], StreamLabels] = {
            name: StreamLabels(name[1], None) for name in names or (NAME,)
        }
        self.consumers: list[dict[str, Any]] | CollectError = []
        self.messages: dict[str, int] = {}
        self.stored: dict[str, Any] | CollectError = {}
        self.arguments: dict[str, Any] = {}
        self.at = 0.0
        self.features: dict[str, bool] = {}
        self.asked: list[str] = []
        self.reader = StreamReader(Pool(), self._feature)

    def _feature(self, name: str, works: bool, advice: str) -> None:
        assert advice
        self.features[name] = works

    def rows(self, path: str, deadline: object, **params: str) -> list[dict[str, Any]]:
        assert path == "stream/consumers"
        if isinstance(self.consumers, CollectError):
            raise self.consumers
        return self.consumers

    def get(self, path: str, deadline: object, **params: str) -> Any:
        self.asked.append(path)
        kind, *names = path.split("/")
        if kind == "queues":
            messages = self.messages.get(names[1])
            found = {} if messages is None else {"messages": messages}
            return {**found, "arguments": self.arguments, "effective_policy_definition": {}}
        if isinstance(self.stored, CollectError):
            raise self.stored
        return {"offsets": self.stored}

    def look(self, rows: Rows | None = None) -> tuple[Streams, list[Problem]]:
        self.at += LOOK_SECONDS
        return self.reader.read(self, self.at, self.parts, Until(10), rows or Rows())  # type: ignore[arg-type]

    def lags(self) -> dict[str | None, int | None]:
        return {depth.place.group: depth.lag for depth in self.look()[0].depths}


def consumer(
    offset: int | str, lag: int, name: str | None = None, stream: str = "s", **more: Any
) -> dict[str, Any]:
    return {
        "offset": offset,
        "offset_lag": lag,
        "consumed": 1,
        "credits": 10,
        "active": True,
        "activity_status": "up",
        "properties": {} if name is None else {"name": name},
        "queue": {"vhost": "/", "name": stream},
        **more,
    }


def of_3_10(offset: int, lag: int, **more: Any) -> dict[str, Any]:
    row = consumer(offset, lag, **more)
    del row["active"], row["activity_status"]
    return row


NOT_THERE = StatusError("invalid", "400", 400)


def test_consumers_of_one_name_are_one_group() -> None:
    cluster = Cluster()
    cluster.consumers = [
        *(consumer(90, 9, "app", credits=0), consumer(70, 29, "app", credits=0)),
        *(consumer(95, 4, credits=0), consumer(1, 1, "app", "other"), {}),
    ]
    cluster.look()
    streams, _ = cluster.look()
    assert {depth.place.group: depth.lag for depth in streams.depths} == {"app": 29, None: 4}
    assert {o.place.group: (o.committed, o.end) for o in streams.offsets} == {
        "app": (71, 100),
        None: (96, 100),
    }
    assert [counts.consumers for counts in streams.counts] == [2, 1]
    assert [produced.total for produced in streams.produced] == [100]


def test_one_odd_consumer_costs_nothing_of_the_others() -> None:
    cluster, rows = Cluster(), Rows()
    cluster.consumers = [
        consumer("first", 0),
        consumer("odd", 0),
        consumer(90, 10, credits=0),
        consumer("odd", 0, "odd"),
    ]
    streams, _ = cluster.look(rows)
    assert {d.place.group: d.lag for d in streams.depths} == {None: 10, "odd": None}
    assert rows.unreadable == 2, "one that has just begun is no fault"


# Stored offsets


def test_a_consumer_that_stops_stays_where_it_stored() -> None:
    cluster = Cluster()
    cluster.messages["s"] = 133  # 132 messages, and the stored offset
    cluster.stored = {"app": 49}
    cluster.consumers = [consumer(49, 83, "app", credits=0)]
    cluster.look()
    cluster.consumers = []
    streams, _ = cluster.look()
    assert [depth.lag for depth in streams.depths] == [82]
    assert [counts.consumers for counts in streams.counts] == [0]
    assert [offsets.is_upper_bound for offsets in streams.offsets] == [True]
    cluster.messages["s"] = 143
    assert cluster.lags() == {"app": 92}


def test_a_slow_consumer_that_tells_less_than_one_that_left_makes_no_stream_anew() -> None:
    """Its statistics are older than those of the consumer at the end, which has just left."""
    cluster = Cluster()
    cluster.arguments = {"x-max-age": "1h"}
    cluster.stored = {"stopped": 500}
    for second in range(30):
        end = 1_000 + 100 * second
        cluster.messages["s"] = end
        slow = consumer(300, end - 551, "slow", credits=0)
        here = [slow, consumer(end - 1, 0, "tail")] if second < 20 else [slow]
        cluster.consumers = here
        cluster.at += 1 - LOOK_SECONDS
        streams, _ = cluster.look()
        if second > 10:
            lags = {depth.place.group: depth.lag for depth in streams.depths}
            assert lags["stopped"] is not None
            assert [produced.epoch for produced in streams.produced] == [0]


def test_one_that_stopped_before_the_first_look_is_there_too() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 133, {"app": 49, "done": 131}
    assert cluster.lags() == {"app": 82, "done": 0}


def test_what_had_been_sent_and_not_stored_waits_again() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 101, {"app": 39}
    cluster.consumers = [consumer(99, 1, "app", consumed=60, credits=0)]
    streams, _ = cluster.look()
    assert [counts.outstanding for counts in streams.counts] == [1]
    assert [counts.replay for counts in streams.counts] == [59]
    assert [o.is_upper_bound for o in streams.offsets] == [True], "what it stored takes an offset"
    cluster.consumers = []
    assert cluster.lags() == {"app": 60}


def test_offsets_of_stored_offsets_are_no_messages() -> None:
    """A consumer that stores after each message and has processed all has no lag.

    Neither while it runs nor when it stops.
    """
    cluster = Cluster()
    cluster.messages["s"] = 132
    cluster.consumers = [consumer(131, 0, "app", consumed=132)]
    cluster.look()
    streams, _ = cluster.look()
    assert [produced.total for produced in streams.produced] == [132]
    cluster.messages["s"], cluster.stored = 264, {"app": 131}
    cluster.consumers = [consumer(131, 132, "app", consumed=132)]
    streams, _ = cluster.look()
    assert [depth.lag for depth in streams.depths] == [0]
    assert [produced.total for produced in streams.produced] == [132]
    cluster.consumers = []
    assert cluster.lags() == {"app": 0}
    cluster.messages["s"] = 274
    assert cluster.lags() == {"app": 10}


def test_one_that_stores_below_what_it_was_sent_has_no_lag() -> None:
    """It stores every fiftieth offset; a stored offset takes an offset after the last message."""
    cluster = Cluster()
    cluster.messages["s"] = 132
    cluster.consumers = [consumer(130, 0, "app", consumed=132)]  # a chunk of two messages
    cluster.look()
    cluster.look()
    cluster.stored = {"app": 49}
    assert cluster.lags() == {"app": 0}, "what the stream holds is older than what is stored"
    cluster.messages["s"], cluster.consumers = 133, [consumer(130, 2, "app", consumed=132)]
    streams, _ = cluster.look()
    assert [depth.lag for depth in streams.depths] == [0]
    assert [produced.total for produced in streams.produced] == [132]
    cluster.messages["s"], cluster.consumers = 143, [consumer(130, 12, "app", credits=0)]
    assert cluster.lags() == {"app": 12}
    cluster.consumers = []
    assert cluster.lags() == {"app": 92}


def test_a_reader_beside_one_that_stores_has_no_lag_either() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 140, {"app": 131}
    cluster.consumers = [consumer(131, 8, "app"), consumer(131, 8)]
    assert cluster.lags() == {"app": 0, None: 0}


def test_one_that_is_stuck_keeps_its_lag() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 500, {"app": 80}
    cluster.consumers = [consumer(100, 399, "app", credits=5)]
    assert cluster.lags() == {"app": 399}


def test_another_that_has_read_all_does_not_hide_the_lag_of_one_that_stopped() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 102, {"app": 49, "tail": 99}
    cluster.consumers = [consumer(99, 2, "tail")]
    assert cluster.lags() == {"app": 51, "tail": 0}, "50, and what the other one stored"


def test_a_stream_with_retention_ends_where_a_consumer_said() -> None:
    """The stream has fewer messages than its end offset: the oldest messages are deleted."""
    cluster = Cluster()
    cluster.arguments = {"x-max-age": "1D"}
    cluster.messages["s"], cluster.stored = 400, {"app": 900}
    assert cluster.lags() == {"app": None}
    works = dict(cluster.features)
    assert not works["lag of stopped stream consumers"]
    cluster.consumers = [consumer(999, 0)]
    assert cluster.lags() == {"app": None, None: 0}, "one look proves nothing"
    for _ in range(3):
        assert cluster.lags() == {"app": 98, None: 0}
    assert cluster.features["lag of stopped stream consumers"]
    cluster.consumers = []
    cluster.messages["s"] = 450
    assert cluster.lags() == {"app": 148}
    cluster.messages["s"] = 200  # a segment was deleted
    assert cluster.lags() == {"app": 148}
    cluster.messages["s"] = 230
    assert cluster.lags() == {"app": 178}


def test_a_stream_that_was_made_again_begins_anew() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.consumers = 100, [consumer(99, 0)]
    (before,) = cluster.look()[0].counts
    cluster.messages["s"], cluster.consumers = 3, [consumer(2, 0)]
    (counts,) = cluster.look()[0].counts
    assert counts.enqueued == 3
    assert counts.epoch != before.epoch


def test_without_stored_offsets_a_consumer_that_stops_goes() -> None:
    """RabbitMQ 3.10 answers 400 where newer versions return stored offsets."""
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 132, NOT_THERE
    cluster.consumers = [of_3_10(31, 100, credits=0)]
    assert cluster.lags() == {None: 100}
    assert cluster.features["stored offsets of streams"] is False
    asked = len(cluster.asked)
    cluster.consumers = []
    assert cluster.lags() == {}
    assert cluster.asked[asked:] == ["queues/%2F/s"], "asked again after ten minutes only"
    cluster.at += 600
    cluster.stored = {"app": 131}
    assert cluster.lags() == {"app": 0}


def test_a_broker_that_told_stored_offsets_is_asked_again_at_once() -> None:
    """While a node restarts, a stream without a leader returns none."""
    cluster = Cluster()
    cluster.messages["s"] = 133
    cluster.stored = {"app": 49}
    assert cluster.lags() == {"app": 82}
    cluster.stored = NOT_THERE
    assert cluster.lags() == {"app": 82}
    cluster.stored = {"app": 99}
    assert cluster.lags() == {"app": 32}


def test_what_cannot_be_read_is_held() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 133, {"app": 49}
    cluster.look()
    cluster.stored = StatusError("unreachable", "503: the stream leader is not available", 503)
    streams, problems = cluster.look()
    assert [(d.place.group, d.lag) for d in streams.depths] == [("app", None)]
    assert [problem.subject for problem in problems] == ["queue 's' in vhost '/'"]
    cluster.consumers = CollectError("timeout", "late")
    streams, problems = cluster.look()
    assert [(d.place.group, d.lag) for d in streams.depths] == [("app", None)]
    assert len(problems) == 1


@pytest.mark.parametrize("bad", [-1, "x", None, 2**70])
def test_a_stored_offset_that_is_no_number_costs_nothing_of_the_others(bad: object) -> None:
    cluster, rows = Cluster(), Rows()
    cluster.messages["s"], cluster.stored = 102, {"app": 49, "other": 49}
    cluster.look()
    cluster.stored = {"app": 59, "other": bad}
    streams, _ = cluster.look(rows)
    assert {d.place.group: d.lag for d in streams.depths} == {"app": 41, "other": 51}
    assert rows.unreadable == 1


def test_many_streams_take_turns() -> None:
    names = [("/", f"s{number}") for number in range(120)]
    cluster = Cluster(*names)
    cluster.messages = {name: 11 for _, name in names}
    cluster.stored = {"app": 4}
    for _ in range(3):
        cluster.asked.clear()
        cluster.look()
        assert len(cluster.asked) == 100, "two requests for each of fifty"
    streams, _ = cluster.look()
    assert {depth.lag for depth in streams.depths} == {5}
    assert len(streams.depths) == 120


# Consumers that have received nothing


def test_one_at_next_on_a_quiet_stream_has_no_lag() -> None:
    cluster = Cluster()
    cluster.messages["s"] = 132
    cluster.consumers = [consumer("next", 0, consumed=0)]
    assert cluster.lags() == {None: None}
    cluster.consumers = [consumer(0, 0, consumed=0)]
    streams, _ = cluster.look()
    (before,) = streams.counts
    assert (before.enqueued, before.outstanding) == (132, 0)
    cluster.messages["s"], cluster.consumers = 135, [consumer(134, 0, consumed=3)]
    (counts,) = cluster.look()[0].counts
    assert (counts.enqueued or 0) - (before.enqueued or 0) == 3, "not the whole log"


@pytest.mark.parametrize("offset", [0, 132], ids=["later", "at first"])
def test_one_at_next_on_a_quiet_stream_has_no_lag_on_3_10(offset: int) -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 132, NOT_THERE
    cluster.consumers = [of_3_10(offset, 131, consumed=0)]
    streams, _ = cluster.look()
    assert [depth.lag for depth in streams.depths] == [0]
    assert [produced.total for produced in streams.produced] == [132]
    cluster.messages["s"], cluster.consumers = 135, [of_3_10(134, 0, consumed=3)]
    (counts,) = cluster.look()[0].counts
    assert (counts.enqueued, counts.outstanding) == (135, 0)


def test_on_3_10_one_with_credit_was_sent_all() -> None:
    cluster = Cluster()
    cluster.stored = NOT_THERE
    cluster.consumers = [of_3_10(131, 4)]
    assert cluster.lags() == {None: 0}, "four stored offsets"
    cluster.consumers = [of_3_10(131, 4, credits=0)]
    assert cluster.lags() == {None: 4}


def test_of_single_active_consumers_the_active_one_stands() -> None:
    cluster = Cluster()
    cluster.messages["s"] = 500
    waiting = consumer(0, 0, "sac", active=False, activity_status="waiting", consumed=0)
    active = consumer(300, 199, "sac", activity_status="single_active", credits=0)
    cluster.consumers = [waiting, active]
    streams, _ = cluster.look()
    assert [(d.place.group, d.lag) for d in streams.depths] == [("sac", 199)]
    assert [counts.consumers for counts in streams.counts] == [1]
    assert [offsets.committed for offsets in streams.offsets] == [301]


def test_one_that_takes_over_stands_where_the_other_stored() -> None:
    cluster = Cluster()
    cluster.messages["s"], cluster.stored = 501, {"sac": 299}
    cluster.consumers = [consumer(0, 0, "sac", activity_status="single_active", consumed=0)]
    assert cluster.lags() == {"sac": 200}


# Super streams


class Exchanges:
    """The replies about exchanges and bindings."""

    def __init__(self) -> None:
        self.exchanges: list[Mapping[str, Any]] = [
            {"vhost": "/", "name": "orders", "arguments": {"x-super-stream": True}},
            {"vhost": "/", "name": "plain", "arguments": {}},
            {"vhost": "/", "name": "", "arguments": []},
        ]
        self.bindings: list[Mapping[str, Any]] | CollectError = [
            self.binding("orders-b", 1),
            self.binding("orders-a", 0),
            self.binding("a-queue", 2),
        ]
        self.reads = 0

    def binding(self, stream: str, number: Any) -> Mapping[str, Any]:
        arguments = {} if number is None else {"x-stream-partition-order": number}
        row = {"vhost": "/", "destination": stream, "destination_type": "queue"}
        return {**row, "routing_key": f"key-{stream[-1]}", "arguments": arguments}

    def rows(self, path: str, deadline: object, **params: str) -> list[Mapping[str, Any]]:
        if path == "exchanges":
            self.reads += 1
            return self.exchanges
        assert path == "exchanges/%2F/orders/bindings/source"
        if isinstance(self.bindings, CollectError):
            raise self.bindings
        return self.bindings


STREAMS = frozenset({("/", "orders-a"), ("/", "orders-b"), ("/", "alone")})


def refreshed(found: SuperStreams, exchanges: Exchanges, rows: Rows | None = None) -> SuperStreams:
    found.refresh(exchanges, Pool(), STREAMS, Until(10), rows or Rows())  # type: ignore[arg-type]
    return found


def test_the_partitions_of_a_super_stream() -> None:
    found = refreshed(SuperStreams(), Exchanges())
    assert found.part(("/", "orders-a")) == StreamLabels("orders", "0")
    assert found.part(("/", "orders-b")) == StreamLabels("orders", "1")
    assert found.part(("/", "alone")) == StreamLabels("alone", None)
    assert found.labels == {"0", "1"}


def test_partitions_without_numbers_go_by_their_keys() -> None:
    exchanges = Exchanges()
    exchanges.bindings = [exchanges.binding("orders-a", None), exchanges.binding("orders-b", 1)]
    found = refreshed(SuperStreams(), exchanges)
    assert [found.part(("/", f"orders-{x}")).partition for x in "ab"] == ["key-a", "key-b"]


def test_a_super_stream_that_cannot_be_read_stays_as_it_was() -> None:
    exchanges = Exchanges()
    found = refreshed(SuperStreams(), exchanges)
    exchanges.bindings = CollectError("timeout", "late")
    refreshed(found, exchanges)
    assert found.part(("/", "orders-a")) == StreamLabels("orders", "0")
    assert [problem.subject for problem in found.problems] == ["super stream 'orders'"]


def test_exchanges_are_read_when_streams_come_and_once_more_then() -> None:
    exchanges, found = Exchanges(), SuperStreams()
    for _ in range(5):
        refreshed(found, exchanges)
    assert exchanges.reads == 2


def test_an_odd_exchange_or_binding_costs_nothing_of_the_others() -> None:
    exchanges, rows = Exchanges(), Rows()
    exchanges.exchanges = [*exchanges.exchanges, {"arguments": {"x-super-stream": True}}]
    assert isinstance(exchanges.bindings, list)
    exchanges.bindings = [*exchanges.bindings, {"destination": 7}]
    found = refreshed(SuperStreams(), exchanges, rows)
    assert len(found.parts) == 2
    assert rows.unreadable == 2


def test_a_connection_counts_once_for_all_partitions_that_it_reads() -> None:
    names = [("/", f"orders-{number}") for number in range(3)]
    cluster = Cluster(*names)
    cluster.parts = {name: StreamLabels("orders", str(i)) for i, name in enumerate(names)}
    cluster.messages = {name: 10 for _, name in names}
    one, other = {"connection_details": {"name": "a"}}, {"connection_details": {"name": "b"}}
    cluster.consumers = [
        consumer(9, 0, "app", "orders-0", **one),
        consumer(9, 0, "app", "orders-1", **one),
        consumer(9, 0, "app", "orders-2", **other),
    ]
    streams, _ = cluster.look()
    assert [counts.place.partition for counts in streams.counts] == ["0", "1", "2"]
    assert [counts.consumers for counts in streams.counts] == [1, 0, 1]
    assert {p.destination for p in streams.produced} == {"orders"}
