"""The brokers' binary protocols.

Kafka's responses, its SCRAM messages and record headers, and NSQ's frames.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from exporter.collectors.kafka.ages import record_times
from exporter.collectors.kafka.group_answers import group_members
from exporter.collectors.kafka.group_protocol_client import ShareOffsets
from exporter.collectors.kafka.raw import (
    group_descriptions,
    group_protocol,
    group_requests,
    share_offsets,
)
from exporter.collectors.kafka.raw.codec import Decoder, compact_array, compact_string, varint
from exporter.collectors.kafka.raw.connection import BrokerConnection
from exporter.collectors.kafka.raw.group_descriptions import Described
from exporter.collectors.kafka.raw.group_protocol import Refused
from exporter.collectors.kafka.raw.scram import Scram, ScramError
from exporter.collectors.kafka.raw.security import Security
from exporter.collectors.kafka.share_positions import SharePositions
from exporter.collectors.nsq.nodes import Nsqd
from exporter.collectors.nsq.probe import _NodeConnection
from exporter.collectors.nsq.settings import NsqSettings
from exporter.model import CollectError, Log, Until
from tests.fuzz.target import Target

SECONDS = 2.0
"""Never waits: the peer has sent everything and has closed its side."""
LAST_PORT = 65_535


@contextmanager
def other_side(data: bytes) -> Iterator[socket.socket]:
    """A connected socket whose peer has sent `data`, sends no more, and reads what it receives."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        yield ours


# Kafka: a whole connection


APIS = (
    *(group_protocol.FIND_COORDINATOR, group_protocol.LIST_GROUPS),
    *(group_protocol.SHARE_DESCRIBE, group_protocol.STREAMS_DESCRIBE),
    group_protocol.SHARE_OFFSETS,
)
NO_TAGS, NULL = b"\0", b"\0"


def ask_kafka(data: bytes) -> None:
    """Log in and send every kind of request; each response is a part of `data`."""
    security = (
        Security(None, "PLAIN", "user", "word") if data[:1] == b"\0" else Security(None, None)
    )
    with (
        other_side(data[1:]) as sock,
        mock.patch.object(BrokerConnection, "_connect", return_value=sock),
    ):
        try:
            with BrokerConnection("kafka:9092", security, Until(SECONDS)) as connection:
                ask_all(connection)
        except CollectError as error:
            assert error.reason in ("invalid", "unreachable", "unauthorized")  # noqa: PT017
            assert "word" not in str(error).split()  # noqa: PT017


def ask_all(connection: BrokerConnection) -> None:
    """Send each request, and use its response."""
    deadline = Until(SECONDS)
    group_requests.supports_groups(connection)
    group_requests.list_groups(connection, deadline)
    check_coordinators(group_requests.find_coordinators(connection, ["g"], deadline))
    for kind in group_protocol.KINDS:
        check_described(group_descriptions.describe(connection, kind, ["g"], deadline))
    check_offsets(share_offsets.share_offsets(connection, ["g"], deadline))


def check_coordinators(found: Mapping[str, str]) -> None:
    """Each is an address."""
    for address in found.values():
        host, _, port = address.rpartition(":")
        assert host
        assert not set(host) & set("/?#@ \0\n")
        assert 1 <= int(port) <= LAST_PORT


def check_described(found: Mapping[str, Described | Refused]) -> None:
    """Each can be turned into members; no partition has a negative number."""
    for described in found.values():
        if isinstance(described, Described):
            members = group_members(described, lambda _: True)
            assert all(min(numbers, default=0) >= 0 for numbers in members.assigned.values())


def check_offsets(found: Mapping[str, Sequence[share_offsets.SharePartition] | Refused]) -> None:
    """Each gives a position within the log."""
    rows = {name: answer for name, answer in found.items() if not isinstance(answer, Refused)}
    topics = {row.topic for each in rows.values() for row in each}
    logs = {topic: Log([0] * 3, [10] * 3, [10] * 3) for topic in topics}
    before = {(row.topic, row.partition): 10 for each in rows.values() for row in each}
    shares = SharePositions()
    for _ in range(3):
        settled = shares.settle(ShareOffsets(rows), before, logs)
        for positions in (*settled.done.values(), *settled.oldest.values()):
            for offsets in positions.offsets.values():
                for partition, offset in offsets.items():
                    assert partition >= 0
                    assert offset is None or offset >= 0


# Kafka: single responses


DECODERS: tuple[Callable[[Decoder], Any], ...] = (
    group_requests._parse_listing,
    group_requests._parse_coordinators,
    lambda decoder: group_descriptions._parse_described(decoder, group_descriptions._parse_share),
    lambda decoder: group_descriptions._parse_described(decoder, group_descriptions._parse_streams),
    share_offsets._parse_offsets,
)
CHECKS: tuple[Callable[[Any], None], ...] = (
    lambda _: None,
    check_coordinators,
    check_described,
    check_described,
    check_offsets,
)


def read_answer(data: bytes) -> None:
    """Decode one response; the first byte chooses its kind."""
    which = (data[0] if data else 0) % len(DECODERS)
    try:
        found = group_protocol.read_answer(Decoder(data[1:]), DECODERS[which])
    except CollectError as error:
        assert error.reason in ("invalid", "unauthorized", "unreachable")  # noqa: PT017
        return
    CHECKS[which](found)


TEXT = st.sampled_from(["g", "t", "share", "streams", "kafka-1", "", "é", "x" * 200]) | st.text(
    max_size=4
)
STRING = TEXT.map(compact_string) | st.just(NULL)
INT8 = st.integers(-1, 127).map(lambda n: struct.pack(">b", n))
INT16 = st.sampled_from([0, 0, 0, 29, 69, -1]).map(lambda n: struct.pack(">h", n))
INT32 = (st.integers(0, 3) | st.integers(-(2**31), 2**31 - 1)).map(lambda n: struct.pack(">i", n))
INT64 = (st.integers(-1, 12) | st.integers(-(2**63), 2**63 - 1)).map(lambda n: struct.pack(">q", n))
UUID = st.binary(min_size=16, max_size=16)
TAGS = st.just(NO_TAGS) | st.just(varint(1) + varint(0) + varint(2) + b"xx")


def sequence(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Concatenates the parts."""
    return st.tuples(*parts).map(b"".join)


def array(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A compact array of such sequences."""
    return st.lists(sequence(*parts), max_size=2).map(compact_array)


PAIR = (STRING, STRING, TAGS)
TASKS = (array(STRING, array(INT32), TAGS),) * 3 + (TAGS,)
INTERNAL = array(STRING, INT32, INT16, array(*PAIR), TAGS)
SUBTOPOLOGY = (STRING, array(STRING), array(STRING), INTERNAL, INTERNAL, TAGS)
TOPOLOGY = sequence(st.just(b"\x01"), INT32, array(*SUBTOPOLOGY), TAGS) | st.just(b"\xff")
ENDPOINT = sequence(st.just(b"\x01"), STRING, INT16, TAGS) | st.just(b"\xff")
STREAMS_MEMBER = (
    *(STRING, INT32, STRING, STRING, STRING, STRING, INT32, STRING, ENDPOINT, array(*PAIR)),
    *((array(STRING, INT32, INT64, TAGS),) * 2),
    *(*TASKS, *TASKS, INT8, TAGS),
)
SHARE_TOPIC = array(UUID, STRING, array(INT32), TAGS)
SHARE_MEMBER = (STRING, STRING, INT32, STRING, STRING, array(STRING), SHARE_TOPIC, TAGS, TAGS)
GROUP = (INT16, STRING, STRING, STRING, INT32, INT32)
LISTING = sequence(INT32, INT16, array(STRING, STRING, STRING, STRING, TAGS), TAGS)
COORDINATORS = sequence(
    INT32, array(STRING, INT32, STRING, INT32 | st.just(b"\0\0\x23\x84"), INT16, STRING, TAGS), TAGS
)
SHARES = sequence(INT32, array(*GROUP, STRING, array(*SHARE_MEMBER), INT32, TAGS), TAGS)
STREAMS = sequence(INT32, array(*GROUP, TOPOLOGY, array(*STREAMS_MEMBER), INT32, TAGS), TAGS)
PARTITION = array(INT32, INT64, INT32, INT64, INT16, STRING, TAGS)
OFFSETS = sequence(
    INT32, array(STRING, array(STRING, UUID, PARTITION, TAGS), INT16, STRING, TAGS), TAGS
)
ANSWERS = (LISTING, COORDINATORS, SHARES, STREAMS, OFFSETS)
ANSWER = st.one_of(*(sequence(st.just(bytes([n])), each) for n, each in enumerate(ANSWERS)))

VERSIONS = struct.pack(">hi", 0, len(APIS)) + b"".join(
    struct.pack(">hhh", api, 0, 9) for api in APIS
)


def answered(bodies: Sequence[bytes]) -> bytes:
    """Return the responses to the first requests of a connection, each with its size and number."""
    found = (struct.pack(">i", number) + body for number, body in enumerate(bodies, 1))
    return b"".join(struct.pack(">i", len(each)) + each for each in found)


SAID = st.tuples(*(each.map(lambda body: NO_TAGS + body) for each in ANSWERS))
CONVERSATION = SAID.map(lambda bodies: b"\x01" + answered([VERSIONS, *bodies]))
LOGIN = (struct.pack(">hi", 0, 0), struct.pack(">h", 0) + b"\xff\xff" + struct.pack(">i", 0))
LOGGED_IN = SAID.map(lambda bodies: b"\x00" + answered([*LOGIN, VERSIONS, *bodies]))

# SCRAM


def answer_scram(data: bytes) -> None:
    """Process the server's two messages, one per line.

    `NONCE` in the first one stands for the client's nonce.
    """
    client = Scram("SCRAM-SHA-256", "user", "word")
    nonce = client.first().decode().rpartition("r=")[2].encode()
    first, _, second = data.partition(b"\n")
    try:
        client.final(first.replace(b"NONCE", nonce))
        client.verify(second)
    except ScramError as error:
        assert "word" not in str(error).split()  # noqa: PT017


SALT = st.binary(max_size=9).map(base64.b64encode)
COUNT = st.sampled_from([b"4096", b"0", b"-1", b"9" * 30, b"4_096", b"x"])
SCRAM = st.tuples(SALT, COUNT, SALT).map(lambda each: b"r=NONCEx,s=%s,i=%s\nv=%s" % each)

# Records


class Record:
    """A record whose header number `at` has the given value, as the library returns it."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def headers(self) -> list[tuple[str, bytes | None]]:
        return [("other", None), ("at", self._value)]

    def timestamp(self) -> tuple[int, int]:
        return 1, int.from_bytes(self._value[:8], "big", signed=True)

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes | None:
        return self._value


def read_record(data: bytes) -> None:
    """Read the time of a record."""
    record: Any = Record(data)
    for header in (None, "at", "missing"):
        found = record_times.record_time(record, header)
        assert found.seconds is None or record_times.is_plausible(found.seconds)
        assert found.seconds is not None or found.anomaly is not None
    record_times.size(record)


TIMES = st.sampled_from(
    ["1700000000", "1700000000000", "2026-11-27T10:00:00Z", "0001-01-01T00:00Z"]
)
TIMES |= st.sampled_from(["9999-12-31T23:59:59.999999-23:59", "1e400", "nan", "1_7", "٣", "-1"])
HEADER = TIMES.map(str.encode) | INT64 | st.text(max_size=20).map(str.encode)

# NSQ


def probe_nsqd(data: bytes) -> None:
    """Probe an nsqd that sends `data`."""
    line = _NodeConnection(
        NsqSettings("s", auth_secret="word" if data[:1] == b"\0" else None), "t#ephemeral"
    )
    node = Nsqd("http://nsqd:4151", "nsqd:4151", ("nsqd", 4150), configured=True)
    with (
        other_side(data[1:]) as sock,
        mock.patch("exporter.collectors.nsq.protocol.connect", return_value=sock),
    ):
        outcome = line.probe(node, Until(SECONDS))
        line.close()
    for seconds in (outcome.probe.publish, outcome.probe.receive):
        assert seconds is None or 0 <= seconds <= SECONDS
    if outcome.problem is not None:
        assert outcome.problem.reason in ("invalid", "unreachable", "unauthorized", "timeout")
        assert len(outcome.problem.message) < 1_000
        assert "word" not in outcome.problem.message.split()


def frame(kind: int, data: bytes) -> bytes:
    """Return a frame of V2."""
    return struct.pack(">ii", len(data) + 4, kind) + data


MESSAGE = st.tuples(
    st.sampled_from([b"0123456789abcdef", b"\xff" * 16, b" " * 16, b"0123456789\nabcde", b"x"]),
    st.sampled_from([b"1", b"2", b""]),
).map(lambda each: frame(2, struct.pack(">qh", 0, 1) + each[0] + each[1]))
FEATURES = st.dictionaries(
    st.sampled_from(["tls_v1", "auth_required", "max_rdy_count"]),
    st.booleans() | st.text(),
    max_size=3,
).map(lambda features: frame(0, json.dumps(features).encode()))
OK, BEAT = frame(0, b"OK"), frame(0, b"_heartbeat_")
FRAME = (
    MESSAGE | FEATURES | st.sampled_from([OK, OK, BEAT, frame(1, b"E_AUTH_FAILED x"), b"\xff" * 8])
)
FRAMES = st.tuples(
    st.sampled_from([b"\0", b"\1"]),
    FEATURES | st.just(OK),
    st.just(OK),
    st.lists(FRAME, max_size=5),
).map(lambda each: b"".join([*each[:3], *each[3]]))

TARGETS = (
    Target("kafka-connection", ask_kafka, CONVERSATION | LOGGED_IN, examples=60),
    Target("kafka-answer", read_answer, ANSWER, examples=200),
    Target("kafka-scram", answer_scram, SCRAM, examples=100),
    Target("kafka-record", read_record, HEADER, examples=300),
    Target("nsq-frames", probe_nsqd, FRAMES, examples=100),
)
