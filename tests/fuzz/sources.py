"""RabbitMQ's and NSQ's replies, read by a whole source.

From the body of a reply to `/metrics` and the API.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.collectors.access import Login, Tls
from exporter.collectors.http import HttpClient, StatusError
from exporter.collectors.nsq.collector import NsqCollector
from exporter.collectors.nsq.from_config import nsq_settings
from exporter.collectors.rabbitmq.collector import RabbitCollector
from exporter.collectors.rabbitmq.from_config import rabbit_settings
from exporter.config.nsq import NsqSource
from exporter.config.rabbitmq import RabbitSource
from exporter.model import Collector, Deadline
from exporter.show.exposition import Exposition
from exporter.sources.source import Source
from tests.fuzz.target import COUNT, JSON, VALUES, Target, in_bytes, rows_like

LARGEST = 2.0**63
ENDLESS = frozenset({"mq_time_to_drain_seconds", "mq_time_to_loss_seconds"})
"""Metrics in which +Inf means never."""
RABBITMQ = {
    "name": "s",
    "system": "rabbitmq",
    "management_url": "http://rabbit:15672",
    "prometheus_url": "http://rabbit:15692",
}
NSQ = {"name": "s", "system": "nsq", "nsqlookupd": "http://127.0.0.1:4161", "internals": True}
NSQ_WITH_NSQD = {**NSQ, "nsqd": "http://127.0.0.1:4151", "nsqlookupd": []}


class Canned(HttpClient):
    """Returns given bodies, chosen by the end of the URL's path, and 404 for other URLs."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        super().__init__("s", Tls(), Login())
        self._bodies = bodies

    def get(self, url: str, deadline: Deadline, params: Mapping[str, str] | None = None) -> bytes:
        for path, body in self._bodies.items():
            if url.endswith(path):
                return body
        raise StatusError("invalid", f"{url}: answered 404", 404)


def watch(config: RabbitSource | NsqSource, collector: Collector) -> None:
    """Poll each task twice, and check everything that the source shows.

    Raises if anything is wrong.
    """
    exposition = Exposition(lambda _: b"")
    source = Source(config, collector, exposition, started=1_700_000_000.0)
    try:
        for _ in range(2):
            source.run_once()
            for name, outcome in source.outcomes.items():
                assert outcome.reason != "internal", (name, outcome.message)
                assert len(outcome.message) < 1_000, (name, len(outcome.message))
    finally:
        collector.close()
    json.dumps(source.rows()).encode("utf-8", "backslashreplace")
    page = b"".join(exposition.response("", "").content()).decode()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            endless = sample.value == math.inf and family.name in ENDLESS
            assert endless or -LARGEST <= sample.value <= LARGEST, sample
            assert sample.value >= 0 or not family.name.startswith("mq_lag"), sample


# RabbitMQ

QUEUES = [
    {"vhost": "/", "name": "q", "type": "classic", "state": "running", "consumers": 1}
    | {"messages": 7, "messages_unacknowledged": 2, "message_bytes": 70}
    | {"messages_persistent": 7, "message_bytes_persistent": 70}
    | {"head_message_timestamp": 1_700_000_000}
    | {"message_stats": {"publish": 30, "ack": 20, "deliver_no_ack": 3, "redeliver": 1}},
    {"vhost": "/", "name": "s", "type": "stream", "state": "running", "messages": 9},
]
RABBIT_BODIES: Mapping[str, Any] = {
    "/api/queues": QUEUES,
    "/api/queues/%2F/q": QUEUES[0],
    "/api/nodes": [{"name": "rabbit@a", "running": True, "mem_alarm": False}],
    "/api/stream/consumers": [
        {"queue": {"vhost": "/", "name": "s"}, "offset": 5, "offset_lag": 4}
        | {"properties": {"name": "reader"}, "consumed": 3, "credits": 2, "active": True}
    ],
    "/api/queues/%2F/s": {"messages": 9, "arguments": {"x-max-age": "1D"}},
    "/api/stream/%2F/s/tracking": {"offsets": {"reader": 3, "gone": 2}},
    "/api/exchanges": [{"vhost": "/", "name": "super", "arguments": {"x-super-stream": True}}],
    "/api/exchanges/%2F/super/bindings/source": [
        {"destination": "s", "destination_type": "queue", "routing_key": "0"}
        | {"arguments": {"x-stream-partition-order": 0}}
    ],
    "/api/overview": {"object_totals": {"queues": 3}},
    "/api/vhosts": [{"name": "/"}, {"name": "other"}],
    "/metrics/detailed": b'rabbitmq_detailed_queue_messages_ready{vhost="/",queue="q"} 5\n'
    b'rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="q"} 2\n',
}


def read_rabbitmq(path: str, data: bytes) -> None:
    """Read a cluster in which one reply is `data`."""
    config = RabbitSource.model_validate(RABBITMQ)
    client = Canned(
        {
            **{p: b if isinstance(b, bytes) else _json(b) for p, b in RABBIT_BODIES.items()},
            path: data,
        }
    )
    watch(config, RabbitCollector(rabbit_settings(config), client))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


NAME = st.sampled_from(["q", "s", "é", "\ud800", 'a"b\\c\n', "#", "x" * 3_000])
STATS = rows_like(publish=COUNT, ack=COUNT, deliver_no_ack=COUNT, get_no_ack=COUNT, redeliver=COUNT)
QUEUE = rows_like(
    vhost="/",
    name=NAME,
    type=st.sampled_from(["classic", "quorum", "stream"]),
    state=st.sampled_from(["running", "down"]),
    exclusive=False,
    messages=COUNT,
    messages_unacknowledged=COUNT,
    message_bytes=COUNT,
    messages_persistent=COUNT,
    message_bytes_persistent=COUNT,
    messages_ram=COUNT,
    message_bytes_ram=COUNT,
    messages_paged_out=COUNT,
    message_bytes_paged_out=COUNT,
    consumers=COUNT,
    head_message_timestamp=COUNT,
    message_stats=STATS,
)
CONSUMER = rows_like(
    queue=st.just({"vhost": "/", "name": "s"}) | JSON,
    offset=COUNT | st.sampled_from(["first", "next"]),
    offset_lag=COUNT,
    consumed=COUNT,
    credits=COUNT,
    active=st.booleans(),
    activity_status=st.sampled_from(["up", "single_active", "waiting"]),
    connection_details=rows_like(name=NAME),
    properties=rows_like(name=NAME),
)
TRACKING = rows_like(offsets=rows_like(reader=COUNT, gone=COUNT))
HOLDS = rows_like(messages=COUNT, arguments=JSON, effective_policy_definition=JSON)
EXCHANGE = rows_like(vhost="/", name="super", arguments=rows_like(**{"x-super-stream": True}))
BINDING = rows_like(
    destination="s",
    destination_type="queue",
    routing_key=NAME,
    arguments=rows_like(**{"x-stream-partition-order": COUNT}),
)
NODE = rows_like(name=NAME, running=True, mem_alarm=True, disk_free_alarm=False)
LINE = st.tuples(
    st.sampled_from([b"ready", b"unacked"]),
    st.sampled_from([b'vhost="/",queue="q"', b'vhost="/"', b"}", b"\xff"]),
    st.sampled_from([b"1", b"1e999", b"NaN", b"-3", b"1.5", b"x", b"", b"9" * 400, b"7.0"]),
).map(lambda line: b"rabbitmq_detailed_queue_messages_%s{%s} %s" % line)

# NSQ

COUNTS: Mapping[str, Any] = dict.fromkeys(
    ("depth", "message_count", "in_flight_count", "deferred_count"), COUNT
)
CLIENT = rows_like(remote_address="127.0.0.1:1", connect_ts=COUNT, finish_count=COUNT)
LATENCY = rows_like(count=COUNT, percentiles=st.lists(rows_like(value=COUNT), max_size=2))
CHANNEL = rows_like(
    **COUNTS,
    requeue_count=COUNT,
    timeout_count=COUNT,
    client_count=COUNT,
    paused=st.booleans(),
    channel_name=st.sampled_from(["c", "c#ephemeral", "\ud800"]),
    clients=st.lists(CLIENT, max_size=2),
    e2e_processing_latency=LATENCY,
)
TOPIC = rows_like(
    topic_name=st.sampled_from(["t", "t#ephemeral"]),
    message_count=COUNT,
    depth=COUNT,
    message_bytes=COUNT,
    paused=st.booleans(),
    channels=st.lists(CHANNEL, max_size=2),
)
STATS_OF_NSQD = rows_like(start_time=COUNT, topics=st.lists(TOPIC, max_size=3))
HOST = st.sampled_from(["nsqd", "::1", "10.0.0.1", "evil/?x=", "a b", "é", "[::1]", "x" * 300])
NODES = {"broadcast_address": HOST, "http_port": 4151, "tcp_port": 4150}
PRODUCER = rows_like(
    **NODES, topics=st.lists(VALUES, max_size=2), tombstones=st.lists(VALUES, max_size=2)
)
STATS_BODY: Mapping[str, Any] = {
    "start_time": 1,
    "topics": [
        {"topic_name": "t", "depth": 0, "message_count": 9, "channels": [{"channel_name": "c"}]}
    ],
}
PRODUCERS = {"producers": [{"broadcast_address": "nsqd", "http_port": 4151, "tcp_port": 4150}]}


def read_nsq(path: str, data: bytes) -> None:
    """Read an installation in which one reply is `data`."""
    config = NsqSource.model_validate(NSQ_WITH_NSQD if path == "/info" else NSQ)
    bodies = {"/nodes": _json(PRODUCERS), "/info": _json(NODE_INFO), "/stats": _json(STATS_BODY)}
    collector = NsqCollector(nsq_settings(config), Canned({**bodies, path: data}))
    # The probe has its own target.
    collector.tasks = {name: run for name, run in collector.tasks.items() if name != "probe"}
    watch(config, collector)


NODE_INFO = {"version": "1.3.0", "broadcast_address": "nsqd", "http_port": 4151, "tcp_port": 4150}


def _rabbit(name: str, path: str, grammar: st.SearchStrategy[bytes]) -> Target:
    return Target(f"rabbitmq-{name}", partial(read_rabbitmq, path), grammar, examples=100)


def _nsq(name: str, path: str, grammar: st.SearchStrategy[bytes]) -> Target:
    return Target(f"nsq-{name}", partial(read_nsq, path), grammar, examples=100)


TARGETS = (
    _rabbit("queues", "/api/queues", in_bytes(st.lists(QUEUE, max_size=4))),
    _rabbit("queue", "/api/queues/%2F/q", in_bytes(QUEUE)),
    _rabbit("nodes", "/api/nodes", in_bytes(st.lists(NODE, max_size=3))),
    _rabbit("consumers", "/api/stream/consumers", in_bytes(st.lists(CONSUMER, max_size=3))),
    _rabbit("tracking", "/api/stream/%2F/s/tracking", in_bytes(TRACKING)),
    _rabbit("stream", "/api/queues/%2F/s", in_bytes(HOLDS)),
    _rabbit("exchanges", "/api/exchanges", in_bytes(st.lists(EXCHANGE, max_size=3))),
    _rabbit("bindings", "/api/exchanges/%2F/super/bindings/source", in_bytes(st.lists(BINDING))),
    _rabbit(
        "overview",
        "/api/overview",
        in_bytes(rows_like(object_totals=rows_like(queues=COUNT))),
    ),
    _rabbit("vhosts", "/api/vhosts", in_bytes(st.lists(rows_like(name=NAME), max_size=3))),
    _rabbit(
        "page",
        "/metrics/detailed",
        st.lists(LINE | st.binary(max_size=30), max_size=6).map(b"\n".join),
    ),
    _nsq("stats", "/stats", in_bytes(STATS_OF_NSQD | rows_like(data=STATS_OF_NSQD))),
    _nsq("nodes", "/nodes", in_bytes(rows_like(producers=st.lists(PRODUCER, max_size=3)))),
    _nsq("info", "/info", in_bytes(rows_like(**NODES, version="1.3.0"))),
)
