"""Requests about streams groups (KIP-1071) and share groups (KIP-932), and what their answers say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from exporter.collectors.kafka.raw.codec import (
    NO_TAGS,
    NULL_ARRAY,
    Garbled,
    Reader,
    compact_array,
    compact_string,
)
from exporter.collectors.kafka.raw.connection import Connection
from exporter.collectors.reply_rows import LAST_PORT, is_host
from exporter.model import CollectError, Deadline

T = TypeVar("T")
Kind = Literal["share", "streams"]
KINDS: tuple[Kind, ...] = ("share", "streams")

FIND_COORDINATOR, LIST_GROUPS, SHARE_DESCRIBE, STREAMS_DESCRIBE, SHARE_OFFSETS = 10, 16, 77, 89, 90
FIND_VERSION, LIST_VERSION, SHARE_VERSION, STREAMS_VERSION, OFFSETS_VERSION = 4, 5, 1, 0, 1
GROUP_ID_NOT_FOUND = 69
TOPIC_REFUSED = 29
REFUSED = frozenset({TOPIC_REFUSED, 30, 31})
"""Codes of TOPIC_, GROUP_ and CLUSTER_AUTHORIZATION_FAILED."""
ABSENT = -1
"""The first byte of a structure that is not there."""
UNKNOWN = -1
"""An offset or a lag that a broker does not know."""
BATCH = 100
"""Groups a request."""


class Listed(NamedTuple):
    """A group as a broker lists it."""

    name: str
    kind: Kind
    state: str


class Refused(NamedTuple):
    """Why a broker does not tell of a group: Kafka's error code, and its words."""

    error: int
    message: str


@dataclass(frozen=True, slots=True)
class Described:
    """A group's description: member id to the partitions that it reads."""

    state: str
    members: Mapping[str, Sequence[tuple[str, int]]]


class SharePartition(NamedTuple):
    """Where a share group stands in a partition."""

    topic: str
    partition: int
    start: int | None
    """Offset before which all records are done with; `UNKNOWN` where there is none yet, None if it can't be read."""
    lag: int | None
    """Records that are not done with; None where the broker does not know."""


def can_have(connection: Connection) -> bool:
    """Tell whether a broker can have such groups, and list them."""
    return connection.knows(LIST_GROUPS, LIST_VERSION) and (
        connection.knows(SHARE_DESCRIBE, SHARE_VERSION)
        or connection.knows(STREAMS_DESCRIBE, STREAMS_VERSION)
    )


def list_groups(connection: Connection, deadline: Deadline) -> list[Listed]:
    """Return the groups of both kinds that the broker coordinates and the user may see."""
    body = compact_array([]) + compact_array(map(compact_string, KINDS)) + NO_TAGS
    answer = connection.request(LIST_GROUPS, LIST_VERSION, body, deadline)
    return _read(answer, _take_listing)


def _take_listing(answer: Reader) -> list[Listed]:
    answer.int32()
    error = answer.int16()
    if error:
        raise _refusal(error, "the list of groups")
    found: list[Listed] = []

    def group() -> None:
        name, _, state, kind = (answer.string() for _ in range(4))
        answer.tags()
        found.extend(Listed(name, known, state) for known in KINDS if kind.lower() == known)

    answer.array(group)
    return found


def find_coordinators(
    connection: Connection, groups: Iterable[str], deadline: Deadline
) -> dict[str, str]:
    """Return the address of the coordinator of each group that has one."""
    body = b"\0" + compact_array(map(compact_string, groups)) + NO_TAGS
    answer = connection.request(FIND_COORDINATOR, FIND_VERSION, body, deadline)
    return _read(answer, _take_coordinators)


def _take_coordinators(answer: Reader) -> dict[str, str]:
    answer.int32()
    found = {}

    def coordinator() -> None:
        key = answer.string()
        answer.int32()
        host, port = answer.string(), answer.int32()
        error = answer.int16()
        answer.nullable_string()
        answer.tags()
        if not error:
            found[key] = _address(host, port)

    answer.array(coordinator)
    return found


def _address(host: str, port: int) -> str:
    if not (is_host(host) and 1 <= port <= LAST_PORT):
        raise Garbled("the address of a coordinator is none")
    return f"{host}:{port}"


def _partition(answer: Reader) -> int:
    number = answer.int32()
    if number < 0:
        raise Garbled("a partition has a negative number")
    return number


def describe(
    connection: Connection, kind: Kind, groups: Sequence[str], deadline: Deadline
) -> dict[str, Described | Refused]:
    """Return the description of each group, or why there is none."""
    api, version, take = DESCRIBING[kind]
    if not connection.knows(api, version):
        return dict.fromkeys(groups, Refused(GROUP_ID_NOT_FOUND, "the broker has no such groups"))
    found: dict[str, Described | Refused] = {}
    for batch in _batches(groups):
        body = compact_array(map(compact_string, batch)) + b"\0" + NO_TAGS
        answer = connection.request(api, version, body, deadline)
        found.update(_read(answer, lambda answer: _take_described(answer, take)))
    return found


def _take_described(
    answer: Reader, take: Callable[[Reader, str], Described]
) -> dict[str, Described | Refused]:
    found: dict[str, Described | Refused] = {}

    def group() -> None:
        error, message, name = answer.int16(), answer.nullable_string(), answer.string()
        state = answer.string()
        answer.int32()
        answer.int32()
        described = take(answer, state)
        answer.int32()
        answer.tags()
        found[name] = Refused(error, message or "") if error else described

    answer.int32()
    answer.array(group)
    return found


def _take_share(answer: Reader, state: str) -> Described:
    answer.string()
    members: dict[str, list[tuple[str, int]]] = {}

    def topic() -> list[tuple[str, int]]:
        answer.uuid()
        name, partitions = answer.string(), answer.array(lambda: _partition(answer))
        answer.tags()
        return [(name, partition) for partition in partitions]

    def member() -> None:
        name = answer.string()
        answer.nullable_string()
        answer.int32()
        answer.string()
        answer.string()
        answer.array(answer.string)
        members[name] = [pair for pairs in answer.array(topic) for pair in pairs]
        answer.tags()
        answer.tags()

    answer.array(member)
    return Described(state, members)


def _take_streams(answer: Reader, state: str) -> Described:
    sources = _take_topology(answer) if answer.int8() != ABSENT else {}
    members: dict[str, list[tuple[str, int]]] = {}

    def member() -> None:
        name = answer.string()
        answer.int32()
        for _ in range(2):
            answer.nullable_string()
        for _ in range(2):
            answer.string()
        answer.int32()
        answer.string()
        if answer.int8() != ABSENT:
            _skip_endpoint(answer)
        answer.array(lambda: _skip_pair(answer))
        for _ in range(2):
            answer.array(lambda: _skip_task_offset(answer))
        active = _take_tasks(answer)
        _take_tasks(answer)
        answer.boolean()
        answer.tags()
        members[name] = [
            (topic, partition)
            for subtopology, partitions in active
            for topic in sources.get(subtopology, ())
            for partition in partitions
        ]

    answer.array(member)
    return Described(state, members)


def _take_topology(answer: Reader) -> dict[str, list[str]]:
    """Return the topics that each subtopology reads, those between subtopologies included."""
    sources: dict[str, list[str]] = {}

    def internal() -> str:
        name = answer.string()
        answer.int32()
        answer.int16()
        answer.array(lambda: _skip_pair(answer))
        answer.tags()
        return name

    def subtopology() -> None:
        name = answer.string()
        topics = answer.array(answer.string)
        answer.array(answer.string)
        answer.array(internal)
        sources[name] = [*topics, *answer.array(internal)]
        answer.tags()

    answer.int32()
    answer.array(subtopology)
    answer.tags()
    return sources


def _take_tasks(answer: Reader) -> list[tuple[str, list[int]]]:
    """Return the active tasks of an assignment: subtopology and partitions."""

    def tasks() -> tuple[str, list[int]]:
        found = (answer.string(), answer.array(lambda: _partition(answer)))
        answer.tags()
        return found

    active = answer.array(tasks)
    answer.array(tasks)
    answer.array(tasks)
    answer.tags()
    return active


def _skip_endpoint(answer: Reader) -> None:
    answer.string()
    answer.int16()
    answer.tags()


def _skip_pair(answer: Reader) -> None:
    answer.string()
    answer.string()
    answer.tags()


def _skip_task_offset(answer: Reader) -> None:
    answer.string()
    answer.int32()
    answer.int64()
    answer.tags()


DESCRIBING: Mapping[Kind, tuple[int, int, Callable[[Reader, str], Described]]] = {
    "share": (SHARE_DESCRIBE, SHARE_VERSION, _take_share),
    "streams": (STREAMS_DESCRIBE, STREAMS_VERSION, _take_streams),
}


def share_offsets(
    connection: Connection, groups: Sequence[str], deadline: Deadline
) -> dict[str, list[SharePartition] | Refused]:
    """Return where each share group stands in each of its partitions, or why that is not said."""
    if not connection.knows(SHARE_OFFSETS, OFFSETS_VERSION):
        refused = Refused(
            0, "only brokers of Kafka 4.2 and later tell how far share groups have got"
        )
        return dict.fromkeys(groups, refused)
    found: dict[str, list[SharePartition] | Refused] = {}
    for batch in _batches(groups):
        items = (compact_string(group) + NULL_ARRAY + NO_TAGS for group in batch)
        body = compact_array(items) + NO_TAGS
        answer = connection.request(SHARE_OFFSETS, OFFSETS_VERSION, body, deadline)
        found.update(_read(answer, _take_offsets))
    return found


def _take_offsets(answer: Reader) -> dict[str, list[SharePartition] | Refused]:
    found: dict[str, list[SharePartition] | Refused] = {}

    def partition(topic: str) -> SharePartition:
        number, start = _partition(answer), answer.int64()
        answer.int32()
        lag = answer.int64()
        error = answer.int16()
        answer.nullable_string()
        answer.tags()
        if error:
            return SharePartition(topic, number, None, None)
        return SharePartition(topic, number, max(start, UNKNOWN), lag if lag >= 0 else None)

    def topic() -> list[SharePartition]:
        name = answer.string()
        answer.uuid()
        partitions = answer.array(lambda: partition(name))
        answer.tags()
        return partitions

    def group() -> None:
        name = answer.string()
        rows = [row for rows in answer.array(topic) for row in rows]
        error, message = answer.int16(), answer.nullable_string()
        answer.tags()
        found[name] = Refused(error, message or "") if error else rows

    answer.int32()
    answer.array(group)
    return found


def _batches(groups: Sequence[str]) -> list[Sequence[str]]:
    return [groups[first : first + BATCH] for first in range(0, len(groups), BATCH)]


def _read(answer: Reader, take: Callable[[Reader], T]) -> T:
    try:
        return take(answer)
    except Garbled as error:
        raise CollectError("invalid", f"cannot read a broker's response: {error}") from None


def _refusal(error: int, what: str) -> CollectError:
    if error in REFUSED:
        return CollectError("unauthorized", f"{what} was denied; give the user Describe on groups")
    return CollectError("unreachable", f"{what} is not available yet (error {error})")
