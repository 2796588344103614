"""Whatever a broker answers: parsers of replies return observations, or refuse with `CollectError`; nothing else leaves them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.collectors.nsq import nodes
from exporter.collectors.nsq.protocol import _features, _id_of
from exporter.collectors.nsq.selection import Selection as NsqSelection
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.nsq.stats import Finished, read_stats
from exporter.collectors.rabbitmq.detailed import read_detailed, texts
from exporter.collectors.rabbitmq.queues import Selection, counts_of, listed, mean_size, name_of
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.rabbitmq.streams import read_streams
from exporter.collectors.rows import LARGEST, RowError, Rows
from exporter.model import CollectError, Counts, Depth

T = TypeVar("T")

HUGE = 10**400
ODD: list[Any] = [HUGE, -HUGE, 2**63, -5, "7", True, 1.5, 1e300, float("inf"), float("nan")]
ODD += ["", "\ud800", "a\0b", [], {}, None, 10**30, "first", "x" * 70_000, 0, 7]
VALUES = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def rows_like(*fields: str, **nested: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of the fields that a parser looks at, and anything in them."""
    known: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(fields, VALUES | JSON)
    return st.fixed_dictionaries({}, optional={**known, **nested}) | JSON


STATS = rows_like("publish", "ack", "deliver_no_ack", "get_no_ack", "redeliver")
QUEUES = rows_like(
    *("name", "vhost", "type", "state", "exclusive", "auto_delete", "owner_pid_details"),
    *("messages", "messages_unacknowledged", "message_bytes", "consumers"),
    "head_message_timestamp",
    message_stats=STATS,
    name=st.sampled_from(["q", "é", "\ud800"]) | VALUES,
    vhost=st.just("/") | VALUES,
)
CONSUMERS = rows_like(
    *("offset", "offset_lag", "properties"),
    queue=st.just({"vhost": "/", "name": "s"}) | JSON,
)
PERCENTILES = rows_like("count", percentiles=st.lists(rows_like("value"), max_size=2) | JSON)
CLIENTS = st.lists(rows_like("remote_address", "connect_ts", "finish_count"), max_size=2) | JSON
COUNTS = ("depth", "message_count", "in_flight_count", "deferred_count", "requeue_count")
CHANNELS = rows_like(
    *COUNTS,
    *("timeout_count", "client_count", "paused"),
    channel_name=st.sampled_from(["c", "c#ephemeral"]) | VALUES,
    clients=CLIENTS,
    e2e_processing_latency=PERCENTILES,
)
TOPICS = rows_like(
    *("message_count", "depth", "message_bytes", "paused"),
    topic_name=st.just("t") | VALUES,
    channels=st.lists(CHANNELS, max_size=2) | JSON,
)
NODES = ("broadcast_address", "http_port", "tcp_port", "topics", "tombstones")
PRODUCER = rows_like(*NODES)
RABBIT = Selection(RabbitSettings("fuzz", ("http://r:15672",)))
NSQ = NsqSelection(NsqSettings("fuzz", internals=True))


def of_invalid(read: Callable[[], T]) -> T | None:
    """Return what is read; None where it is refused, which must be as invalid."""
    try:
        return read()
    except CollectError as error:
        refused = error
    assert refused.reason == "invalid"
    return None


def is_count(value: Any) -> bool:
    return value is None or (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 8 * LARGEST
    )


def check(depths: list[Depth], counts: list[Counts]) -> None:
    """Every number is a count, sums of several included."""
    for depth in depths:
        assert is_count(depth.lag)
        assert is_count(depth.unacknowledged)
        assert is_count(depth.deferred)
    for each in counts:
        assert is_count(each.outstanding)
        assert is_count(each.enqueued)
        assert is_count(each.consumers)


@settings(max_examples=150, deadline=None)
@given(st.lists(QUEUES, max_size=4))
def test_queues_of_rabbitmq(found: list[Any]) -> None:
    rows: list[Mapping[str, Any]] = [row if isinstance(row, dict) else {} for row in found]
    reader = Rows()
    messages: list[str] = []
    check([queue.depth for queue in listed(rows, RABBIT, reader)], [])
    for row in rows:
        try:
            name_of(row)
            counts, size = counts_of(row, time.time()), mean_size(row)
        except RowError as error:
            messages.append(str(error))
            continue
        check([], [] if counts is None else [counts])
        assert size is None or 0 <= size <= LARGEST
    messages += [problem.message for problem in reader.problems()]
    assert all(len(message) < 300 for message in messages)


@settings(max_examples=150, deadline=None)
@given(st.lists(CONSUMERS, max_size=4))
def test_consumers_of_streams(found: list[Any]) -> None:
    rows: list[Mapping[str, Any]] = [row if isinstance(row, dict) else {} for row in found]
    streams = read_streams(rows, {("/", "s")})
    check(streams.depths, streams.counts)


NUMBERS = st.sampled_from([b"1", b"1e999", b"NaN", b"-3", b"1.5", b"x", b"", b"9" * 400, b"7.0"])
LINES = st.tuples(
    st.sampled_from([b"ready", b"unacked"]),
    st.sampled_from([b'vhost="/",queue="q"', b'vhost="/"', b"}", b"\xff"]),
    NUMBERS,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES | st.binary(max_size=30), max_size=6))
def test_pages_of_the_prometheus_plugin(found: list[Any]) -> None:
    lines = [
        line
        if isinstance(line, bytes)
        else b"rabbitmq_detailed_queue_messages_%s{%s} %s" % (line[0], line[1], line[2])
        for line in found
    ]
    try:
        read = read_detailed("http://r", b"\n".join(lines), texts([("/", "q")]))
    except CollectError:
        return
    assert all(is_count(value) for pair in read.values() for value in pair)


@settings(max_examples=200, deadline=None)
@given(rows_like("start_time", topics=st.lists(TOPICS, max_size=3) | JSON))
def test_stats_of_an_nsqd(answer: Any) -> None:
    reading = of_invalid(lambda: read_stats(answer, "n:4151", NSQ, frozenset(), Finished()))
    if reading is None:
        return
    check(reading.depths, reading.counts)


@settings(max_examples=150, deadline=None)
@given(rows_like("data", producers=st.lists(PRODUCER, max_size=3) | JSON) | PRODUCER)
def test_nodes_of_an_nsqlookupd_and_an_nsqd(answer: Any) -> None:
    found = of_invalid(lambda: nodes._listed(answer, "http://l:4161", Rows())) or []
    itself = of_invalid(lambda: nodes._itself(answer, "http://n:4151"))
    for node in [*found, *([] if itself is None else [itself])]:
        assert node.tcp is not None
        assert 1 <= node.tcp[1] <= 65_535
        assert "/" not in node.name


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_an_nsqd_sends_to_a_probe(data: bytes) -> None:
    of_invalid(lambda: _features(data))
    of_invalid(lambda: _id_of(data))
